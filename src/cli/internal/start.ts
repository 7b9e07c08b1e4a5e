/** Runs the command line in this process. */
import * as NodeRuntime from "@effect/platform-node-shared/NodeRuntime"
import * as NodeChildProcessSpawner from "@effect/platform-node-shared/NodeChildProcessSpawner"
import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodePath from "@effect/platform-node-shared/NodePath"
import * as NodeStdio from "@effect/platform-node-shared/NodeStdio"
import * as NodeTerminal from "@effect/platform-node-shared/NodeTerminal"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import { exitCodes } from "./failure.ts"
import { run } from "./program.ts"

const services = NodeChildProcessSpawner.layer.pipe(
  Layer.provideMerge(Layer.mergeAll(NodeFileSystem.layer, NodePath.layer, NodeStdio.layer, NodeTerminal.layer))
)

export const start = (version: string, args: ReadonlyArray<string>): void => {
  let code: number = exitCodes.Interrupted
  const program = run(version, args).pipe(
    Effect.tap((found) => Effect.sync(() => (code = found))),
    Effect.provide(services)
  )
  NodeRuntime.runMain(program, {
    disableErrorReporting: true,
    teardown: (exit, onExit) => onExit(Exit.isSuccess(exit) ? code : exitCodes.Interrupted)
  })
}
