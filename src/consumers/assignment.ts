/**
 * Who gets which partitions: shares differ by one at most, and no partition moves that need not.
 * Pure: the same question always has the same answer.
 *
 * `owners` has the present owner of each partition; one that is not among `members` counts as none.
 * Members that already have more keep the larger shares, then those who came first get them. With
 * more members than partitions the last ones get none and wait.
 */
export function assignPartitions<M>(
  owners: readonly (M | undefined)[],
  members: readonly M[],
): readonly (M | undefined)[] {
  if (members.length === 0) return owners.map(() => undefined)
  const held = new Map<M, number>(members.map((member) => [member, 0]))
  for (const owner of owners) {
    const count = owner === undefined ? undefined : held.get(owner)
    if (owner !== undefined && count !== undefined) held.set(owner, count + 1)
  }
  const shares = sharesOf(members, held, owners.length)
  const result: (M | undefined)[] = []
  for (const [index, owner] of owners.entries()) {
    const left = owner === undefined ? 0 : (shares.get(owner) ?? 0)
    if (owner === undefined || left === 0) continue
    shares.set(owner, left - 1)
    result[index] = owner
  }
  const wanting = members.flatMap((member) => new Array<M>(shares.get(member) ?? 0).fill(member))
  return owners.map((_, index) => result[index] ?? wanting.shift())
}

function sharesOf<M>(
  members: readonly M[],
  held: ReadonlyMap<M, number>,
  partitions: number,
): Map<M, number> {
  const share = Math.floor(partitions / members.length)
  const larger = partitions % members.length
  // A stable sort: among equals those who came first.
  const byHeld = [...members].sort((a, b) => (held.get(b) ?? 0) - (held.get(a) ?? 0))
  return new Map(byHeld.map((member, index) => [member, share + (index < larger ? 1 : 0)]))
}
