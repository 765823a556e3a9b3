/** What bridges keep beside their cursors, in the state of the log. */
export const BRIDGE_KIND = 'bridge'
