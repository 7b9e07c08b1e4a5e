/** What plans of targets have in common. */
import type * as ReplicaTarget from "../../ReplicaTarget.ts"

/** The problems of a shape whose names a target does not take: those of its table, its key and its columns, each with what is wrong with it. */
export const problemsOfNames = (
  { name }: ReplicaTarget.Shape,
  names: ReadonlyArray<readonly [name: string, problem: string | undefined]>
): ReplicaTarget.Plan["problems"] =>
  names.flatMap(([of, problem]) =>
    problem === undefined ? [] : [{ name, problem: `${JSON.stringify(of)}: ${problem}` }]
  )
