/** Asks for a secret: without echo on a terminal, or as a line of a pipe. */
import type { ReadStream } from 'node:tty'

const LINE_BYTES_MAX = 1024 * 1024

/**
 * The next line of `input`, without its end; undefined when there is none. On a terminal the
 * question is shown and nothing of the answer is. Ctrl-C ends the process as it does elsewhere.
 */
export async function readSecret(
  input: ReadStream,
  question: string,
  show: (text: string) => void,
): Promise<string | undefined> {
  if (input.isTTY !== true) return firstLine(input)
  show(question)
  input.setRawMode(true)
  try {
    return await typedLine(input)
  } finally {
    input.setRawMode(false)
    input.pause()
    show('\n')
  }
}

async function firstLine(input: NodeJS.ReadableStream): Promise<string | undefined> {
  let text = Buffer.alloc(0)
  for await (const chunk of input) {
    text = Buffer.concat([text, Buffer.from(chunk)])
    if (text.includes(10) || text.length > LINE_BYTES_MAX) break
  }
  return text.length === 0 ? undefined : (text.toString().split('\n')[0] ?? '').replace(/\r$/, '')
}

const CTRL_C = '\u0003'
const CTRL_D = '\u0004'
const ERASE = ['\u007f', '\b']

function typedLine(input: ReadStream): Promise<string | undefined> {
  const typed: string[] = []
  return new Promise((resolve) => {
    const end = (line: string | undefined): void => {
      input.off('data', onData)
      resolve(line)
    }
    const onData = (chunk: Buffer): void => {
      for (const key of chunk.toString()) {
        if (key === '\r' || key === '\n') end(typed.join(''))
        else if (key === CTRL_C || key === CTRL_D) end(undefined)
        else if (ERASE.includes(key)) typed.pop()
        else typed.push(key)
      }
    }
    input.on('data', onData)
    input.resume()
  })
}
