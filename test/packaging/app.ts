/** A program with passwords in a folder, as a user's bundler gets it. What it prints is what the test expects. */
import { Config, Effect, Layer, Redacted, Schema } from "effect"
import * as PasswordHasher from "effect-s3db/crypto/PasswordHasher"
import * as Database from "effect-s3db/Database"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as ConnectionString from "effect-s3db/storage/ConnectionString"

class Login extends Schema.Class<Login>("app/Login")({ id: Schema.String, password: Attribute.Password }) {}

class Logins extends Resource.Service<Logins>()("app/logins", { schema: Login, primaryKey: "id" }) {}

const program = Effect.gen(function* () {
  const logins = yield* Logins
  const hasher = yield* PasswordHasher.PasswordHasher
  for (const id of ["ana", "bob"]) {
    yield* logins.replace({ id, password: Redacted.make(`correct horse ${id}`) })
    const { password } = yield* logins.get(id)
    console.log(id, yield* hasher.verify(Redacted.make(`correct horse ${id}`), password))
    console.log(id, yield* hasher.verify(Redacted.make("battery staple"), password))
  }
})

const algorithms = [PasswordHasher.argon2id({ memory: 64, passes: 1 }), PasswordHasher.bcrypt({ cost: 10 })]

await Effect.runPromise(
  Effect.gen(function* () {
    const url = yield* Config.String("APP_DATABASE")
    for (const algorithm of algorithms) {
      const App = Logins.layer.pipe(
        Layer.provideMerge(PasswordHasher.layerWith({ algorithm })),
        Layer.provide(Database.layer),
        Layer.provide(ConnectionString.layer(url))
      )
      yield* Effect.provide(program, App)
    }
  })
)
