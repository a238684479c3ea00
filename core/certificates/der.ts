/** The part of ASN.1 DER that certificates and trust stores need. Every function returns one complete element. */

export function element(tag: number, ...parts: Buffer[]): Buffer {
  const content = Buffer.concat(parts)
  return Buffer.concat([Buffer.from([tag]), lengthOf(content.length), content])
}

function lengthOf(length: number): Buffer {
  if (length < 0x80) return Buffer.from([length])
  const bytes: number[] = []
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256)
  return Buffer.from([0x80 | bytes.length, ...bytes])
}

export const sequence = (...parts: Buffer[]): Buffer => element(0x30, ...parts)
export const set = (...parts: Buffer[]): Buffer => element(0x31, ...parts)
export const octetString = (...parts: Buffer[]): Buffer => element(0x04, ...parts)
export const bitString = (bytes: Buffer, unusedBits = 0): Buffer =>
  element(0x03, Buffer.from([unusedBits]), bytes)
export const utf8String = (text: string): Buffer => element(0x0c, Buffer.from(text))
export const bmpString = (text: string): Buffer => element(0x1e, Buffer.from(text, 'utf16le').swap16())
export const bool = (value: boolean): Buffer => element(0x01, Buffer.from([value ? 0xff : 0]))
export const nothing = (): Buffer => element(0x05)
/** `[n]` around complete elements */
export const explicit = (n: number, ...parts: Buffer[]): Buffer => element(0xa0 | n, ...parts)
/** `[n]` in place of a primitive tag */
export const implicit = (n: number, content: Buffer): Buffer => element(0x80 | n, content)

/** An integer that is not negative, big endian. */
export function unsigned(value: Buffer | number): Buffer {
  let bytes = typeof value === 'number' ? bigEndian(value) : value
  while (bytes.length > 1 && bytes[0] === 0) bytes = bytes.subarray(1)
  return element(0x02, (bytes[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.from([0]), bytes]) : bytes)
}

function bigEndian(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

export function objectId(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  const bytes = [first * 40 + second]
  for (const arc of rest) {
    const groups = [arc & 0x7f]
    for (let high = Math.floor(arc / 128); high > 0; high = Math.floor(high / 128))
      groups.unshift((high & 0x7f) | 0x80)
    bytes.push(...groups)
  }
  return element(0x06, Buffer.from(bytes))
}

/** UTCTime until 2049, GeneralizedTime after, as RFC 5280 demands. */
export function time(milliseconds: number): Buffer {
  const date = new Date(milliseconds)
  const text = `${date.toISOString().replace(/[-:T]/g, '').slice(0, 14)}Z`
  return date.getUTCFullYear() < 2050
    ? element(0x17, Buffer.from(text.slice(2)))
    : element(0x18, Buffer.from(text))
}

export function pem(label: string, der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`
}

/** Every certificate of a PEM text, as DER; text between blocks is comment. */
export function certificatesOf(text: string): Buffer[] {
  const blocks = text.matchAll(/-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----/g)
  return [...blocks].map(([, base64 = '']) => Buffer.from(base64, 'base64'))
}
