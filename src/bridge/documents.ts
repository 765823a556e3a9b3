/** What bridges keep beside their cursors, in the state of the log. */
export const BRIDGE_KIND = 'bridge'

/**
 * What a document says; undefined for one that is not there, or is damaged. None of them is worth
 * a start that fails: what is forgotten is counted, asked for or told once more.
 */
export function jsonIn(document: Uint8Array | undefined): unknown {
  if (document === undefined) return undefined
  try {
    return JSON.parse(Buffer.from(document).toString())
  } catch (thrown) {
    if (thrown instanceof SyntaxError) return undefined
    throw thrown
  }
}
