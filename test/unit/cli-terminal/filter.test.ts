import {describe, expect, it} from '@jest/globals'
import {TerminalFilter} from '../../../cli/terminal/filter.js'
import {onlyAllowed} from './judge.js'

const filtered = (input: string | Buffer): string =>
  new TerminalFilter().write(Buffer.from(input as string)).toString()

describe('what passes', () => {
  it.each([
    ['text', 'hello wörld 你好 🎉'],
    ['cursor controls', 'a\r\nb\tc\b\u0007'],
    ['colours', '\u001b[1;38;5;208;48;2;1;2;3mx\u001b[m'],
    ['underline style with sub-parameters', '\u001b[4:3mx\u001b[58:2::1:2:3m'],
    ['cursor movement', '\u001b[2A\u001b[3B\u001b[C\u001b[10D\u001b[5;7H\u001b[3G\u001b[4d\u001b[E\u001b[F'],
    ['erase', '\u001b[J\u001b[2J\u001b[K\u001b[1K\u001b[3X\u001b[2P\u001b[4@\u001b[2L\u001b[M'],
    ['scroll region', '\u001b[1;24r\u001b[2S\u001b[3T'],
    ['alternate screen', '\u001b[?1049h\u001b[?1049l'],
    ['mouse', '\u001b[?1000h\u001b[?1002h\u001b[?1003h\u001b[?1006h'],
    ['bracketed paste', '\u001b[?2004h\u001b[?2004l'],
    ['cursor visibility and shape', '\u001b[?25l\u001b[?25h\u001b[2 q'],
    ['save and restore', '\u001b7\u001b8\u001b[s\u001b[u'],
    ['keypad', '\u001b=\u001b>\u001b[?1h'],
    ['line drawing', '\u001b(0lqk\u001b(B'],
    ['title', '\u001b]2;my task\u0007'],
  ])('%s', (_name, input) => {
    expect(filtered(input)).toBe(input)
    expect(onlyAllowed(Buffer.from(input))).toBe(true)
  })

  it('writes a title with BEL, bounded and cleaned, whatever its form', () => {
    expect(filtered('\u001b]0;a title\u001b\\')).toBe('\u001b]2;a title\u0007')
    expect(filtered('\u001b]2;x\ny\u202ez\u009bq\u0007')).toBe('\u001b]2;x\\u{a}y\\u{202e}z\\u{9b}q\u0007')
    expect(filtered(`\u001b]2;${'t'.repeat(100_000)}\u0007.`)).toBe(`\u001b]2;${'t'.repeat(120)}\u0007.`)
  })

  it('keeps the allowed modes of a mixed list', () => {
    expect(filtered('\u001b[?1004;25;9999;2004h')).toBe('\u001b[?25;2004h')
    expect(filtered('\u001b[2;4;20h')).toBe('\u001b[4h')
  })
})

describe('what is dropped', () => {
  it.each([
    ['clipboard (OSC 52)', '\u001b]52;c;ZXZpbA==\u0007'],
    ['clipboard query', '\u001b]52;c;?\u001b\\'],
    ['hyperlink (OSC 8)', '\u001b]8;;https://evil.example/\u001b\\'],
    ['notification (OSC 9)', '\u001b]9;hello\u0007'],
    ['notification (OSC 777)', '\u001b]777;notify;a;b\u0007'],
    ['editor integration (OSC 633)', '\u001b]633;P;Cwd=/tmp\u0007'],
    ['iTerm2 (OSC 1337)', '\u001b]1337;File=name=eA==;inline=0:AAAA\u0007'],
    ['shell marks (OSC 133)', '\u001b]133;A\u0007'],
    ['folder (OSC 7)', '\u001b]7;file:///etc\u0007'],
    ['palette (OSC 4)', '\u001b]4;1;rgb:00/00/00\u0007'],
    ['colour query (OSC 10, 11)', '\u001b]10;?\u0007\u001b]11;?\u001b\\'],
    ['icon title (OSC 1)', '\u001b]1;x\u0007'],
    ['kitty notification (OSC 99)', '\u001b]99;;x\u001b\\'],
    ['DCS', '\u001bPtmux;\u001b\u001b]52;c;ZXZpbA==\u0007\u001b\\'],
    ['DECRQSS', '\u001bP$qm\u001b\\'],
    ['XTGETTCAP', '\u001bP+q544e\u001b\\'],
    ['sixel', '\u001bPq#0;2;0;0;0#0~~@@vv\u001b\\'],
    ['APC (kitty graphics)', '\u001b_Gf=100,t=f;L2V0Yy9wYXNzd2Q=\u001b\\'],
    ['PM', '\u001b^private\u001b\\'],
    ['SOS', '\u001bXstring\u001b\\'],
    ['screen title', '\u001bkname\u001b\\'],
    ['device attributes', '\u001b[c\u001b[0c\u001b[>c\u001b[=c\u001bZ'],
    ['status and cursor report', '\u001b[5n\u001b[6n\u001b[?6n\u001b[?996n'],
    ['DECRQM', '\u001b[?2026$p\u001b[4$p'],
    ['XTVERSION', '\u001b[>q\u001b[>0q'],
    ['window reports and operations', '\u001b[14t\u001b[18t\u001b[20t\u001b[21t\u001b[22;0t\u001b[8;50;50t'],
    ['terminal parameters', '\u001b[x\u001b[1x'],
    ['checksum of a rectangle', '\u001b[1;1;1;1;10;10*y'],
    ['printer', '\u001b[5i\u001b[?5i\u001b[4i'],
    ['keyboard protocol query', '\u001b[?u\u001b[>1u'],
    ['modifier keys', '\u001b[>4;2m\u001b[?4m'],
    ['graphics query', '\u001b[?1;1;0S'],
    ['focus reports, synchronised output, colour scheme', '\u001b[?1004h\u001b[?2026h\u001b[?2031h'],
    ['column switch', '\u001b[?3h'],
    ['margins', '\u001b[?69h\u001b[1;5s'],
    ['highlight mouse', '\u001b[?1001h\u001b[1;2;3;4;5T'],
    ['scroll-back erase', '\u001b[3J\u001b[03J'],
    ['resets', '\u001bc\u001b[!p'],
    ['7 and 8 bit switch', '\u001b F\u001b G'],
    ['leaving UTF-8', '\u001b%@\u001b%G'],
    ['other character sets', '\u001b(A\u001b*0\u001b-A\u001bN\u001bO\u001bn\u001bo\u001b|\u001b}\u001b~'],
    ['answerback', '\u0005'],
    ['other controls', '\u0000\u0001\u0011\u0013\u007f'],
    ['C1 as bytes', Buffer.from([0x9b, 0x90, 0x9d, 0x9e, 0x9f, 0x98, 0x85])],
    ['C1 as UTF-8', '\u009b\u0090\u009d\u009e\u009f\u0098\u0085'],
    ['a sequence that is too long', `\u001b[${'1;'.repeat(400)}H`],
    ['letters as parameters', '\u001b[1<2m\u001b[?1?h'],
  ])('%s', (_name, input) => {
    expect(filtered(Buffer.concat([Buffer.from('['), Buffer.from(input as string), Buffer.from(']')]))).toBe(
      '[]',
    )
  })

  it('shows a replacement for bytes that are not UTF-8', () => {
    expect(filtered(Buffer.from([0x61, 0xff, 0x62]))).toBe('a\ufffdb')
    expect(filtered(Buffer.from([0xc3, 0x28]))).toBe('\ufffd(')
    expect(filtered(Buffer.from([0xe2, 0x82, 0x1b, 0x5b, 0x6d]))).toBe('\ufffd\u001b[m')
    // overlong ESC, surrogate, above U+10FFFF
    for (const bytes of [
      [0xc0, 0x9b],
      [0xed, 0xa0, 0x80],
      [0xf4, 0x90, 0x80, 0x80],
      [0xf5, 0x80],
    ])
      expect(filtered(Buffer.from(bytes))).toMatch(/^\ufffd*$/)
  })

  it('drops an unfinished string for ever but recovers at the next escape', () => {
    const filter = new TerminalFilter()
    expect(filter.write(Buffer.from('a\u001bP1$r')).toString()).toBe('a')
    for (let i = 0; i < 100; i++) expect(filter.write(Buffer.alloc(65536, 0x41))).toHaveLength(0)
    expect(filter.write(Buffer.from('\u001b[31mred')).toString()).toBe('\u001b[31mred')
  })

  it('ends a sequence at CAN and SUB and executes controls inside one', () => {
    expect(filtered('\u001b[3\u0018m')).toBe('m')
    expect(filtered('\u001b]52;c;\u001aA')).toBe('A')
    expect(filtered('\u001b[3\r1m')).toBe('\r\u001b[31m')
  })
})

describe('reset', () => {
  const resetAfter = (input: string) => {
    const filter = new TerminalFilter()
    filter.write(Buffer.from(input))
    return filter.reset()
  }

  it('is empty when nothing was changed', () => {
    expect(resetAfter('plain \u001b[31mred\u001b[0m')).toBe('')
    expect(resetAfter('\u001b[?1049h\u001b[?1049l\u001b[?25l\u001b[?25h\u001b[?2004h\u001b[?2004l')).toBe('')
    expect(resetAfter('\u001b[?1049')).toBe('')
  })

  it.each([
    ['alternate screen', '\u001b[?1049h', '\u001b[?1049l'],
    ['mouse', '\u001b[?1000;1006h\u001b[?1002h', '\u001b[?1000;1002;1006l'],
    ['paste', '\u001b[?2004h', '\u001b[?2004l'],
    ['cursor', '\u001b[?25l\u001b[2 q', '\u001b[?25h\u001b[0 q'],
    ['colour', '\u001b[1;31m', '\u001b[0m'],
    ['keypad', '\u001b=', '\u001b>'],
    ['region', '\u001b[3;9r', '\u001b7\u001b[r\u001b8'],
    ['origin, wrap, insert', '\u001b[?6h\u001b[?7l\u001b[4h', '\u001b[?6l\u001b[4l\u001b[?7h'],
    ['line drawing', '\u001b(0', '\u000f\u001b(B\u001b)B'],
  ])('undoes %s', (_name, input, expected) => {
    expect(resetAfter(input)).toBe(expected)
  })

  it('is needed once only', () => {
    const filter = new TerminalFilter()
    filter.write(Buffer.from('\u001b[?1049h'))
    filter.reset()
    expect(filter.reset()).toBe('')
  })
})
