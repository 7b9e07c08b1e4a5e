/** What TypeScript knows of what is included: compiled, never run. */
import * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import { expectTypeOf } from "vitest"
import * as Relation from "effect-s3db/plugins/Relation"
import type { Blog, User } from "../plugins/relations.ts"
import { Posts, Users } from "../plugins/relations.ts"

type Post = typeof Posts.definition.schema.Type

export const included = (blog: Blog["Service"]) => {
  expectTypeOf(blog.users.get("u")).toExtend<Effect.Effect<User, unknown>>()
  const one = blog.users.get("u", { include: { posts: true, manager: true, profile: { select: ["bio"] } } })
  type One = Effect.Success<typeof one>
  expectTypeOf<One["name"]>().toEqualTypeOf<string>()
  expectTypeOf<One["posts"]>().toEqualTypeOf<ReadonlyArray<Post>>()
  expectTypeOf<One["manager"]>().toEqualTypeOf<User | null>()
  expectTypeOf<One["profile"]>().toEqualTypeOf<{ readonly bio: string } | null>()
  expectTypeOf<One>().not.toHaveProperty("reports")

  const nested = blog.posts.query({
    where: { n: 1 },
    include: { comments: { limit: 3, include: { author: true } }, author: false }
  })
  type Nested = Stream.Success<typeof nested>
  expectTypeOf<Nested["comments"][number]["author"]>().toEqualTypeOf<User | null>()
  expectTypeOf<Nested["comments"][number]["text"]>().toEqualTypeOf<string>()
  expectTypeOf<Nested>().not.toHaveProperty("author")

  const related = blog.users.related({} as User, "posts", { select: ["title"], include: { tags: true } })
  type Related = Stream.Success<typeof related>
  expectTypeOf<Related["title"]>().toEqualTypeOf<string>()
  expectTypeOf<Related["tags"][number]["label"]>().toEqualTypeOf<string>()
  expectTypeOf<Related>().not.toHaveProperty("n")

  // @ts-expect-error no such relation
  void blog.users.get("u", { include: { nothing: true } })
  // @ts-expect-error no such relation within another
  void blog.users.get("u", { include: { posts: { include: { nothing: true } } } })
  // @ts-expect-error the field has no texts
  void blog.users.get("u", { include: { posts: { where: { n: "one" } } } })
  // @ts-expect-error no such field
  void blog.users.get("u", { include: { posts: { order: "nothing" } } })
  // @ts-expect-error no such field
  void blog.users.get("u", { include: { posts: { select: ["nothing"] } } })
}

export const declared = () => {
  const resources = { users: Users, posts: Posts } as const
  void Relation.make({ resources, relations: { users: { posts: { hasMany: "posts", key: "userId" } } } })
  // @ts-expect-error no such field of the other side
  void Relation.make({ resources, relations: { users: { posts: { hasMany: "posts", key: "nothing" } } } })
  // @ts-expect-error no such resource
  void Relation.make({ resources, relations: { users: { posts: { hasMany: "nothing", key: "userId" } } } })
  // @ts-expect-error the key is of this side
  void Relation.make({ resources, relations: { posts: { author: { belongsTo: "users", key: "email" } } } })
}
