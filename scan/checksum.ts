const base62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const CHECK_LENGTH = 6

const table = Uint32Array.from({length: 256}, (_, byte) => {
  let value = byte
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1
  return value
})

/** CRC-32 as in zip and PNG (IEEE 802.3), unsigned. */
export function crc32(text: string): number {
  let value = 0xffffffff
  for (const byte of Buffer.from(text, 'latin1')) value = (value >>> 8) ^ (table[(value ^ byte) & 255] ?? 0)
  return (value ^ 0xffffffff) >>> 0
}

/** Six characters of base62 over the CRC-32 of the payload: how GitHub and npm tokens end. */
export function base62Checksum(payload: string): string {
  let value = crc32(payload)
  let text = ''
  for (let index = 0; index < CHECK_LENGTH; index++) {
    text = (base62[value % 62] ?? '') + text
    value = Math.floor(value / 62)
  }
  return text
}

/** Whether a token, without its prefix, proves itself by its last six characters. */
export function hasValidChecksum(token: string): boolean {
  return base62Checksum(token.slice(0, -CHECK_LENGTH)) === token.slice(-CHECK_LENGTH)
}
