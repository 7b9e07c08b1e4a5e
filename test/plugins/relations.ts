/** A blog: users, their profiles, posts, comments and tags. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Database } from "effect-s3db/Database"
import * as Relation from "effect-s3db/plugins/Relation"
import * as Resource from "effect-s3db/Resource"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { openOn } from "../fixture.ts"

export class User extends Schema.Class<User>("effect-s3db/test/plugins/relations/User")({
  id: Schema.String,
  name: Schema.String,
  email: Schema.String,
  managerId: Schema.optionalKey(Schema.NullOr(Schema.String))
}) {
  get label() {
    return `${this.name} <${this.email}>`
  }
}

export class Users extends Resource.Service<Users>()("effect-s3db/test/plugins/relations/users", {
  schema: User,
  primaryKey: "id",
  unique: { email: ["email"] },
  partitions: { byManager: ["managerId"] }
}) {}

export class Profiles extends Resource.Service<Profiles>()("effect-s3db/test/plugins/relations/profiles", {
  schema: Schema.Struct({ id: Schema.String, email: Schema.String, bio: Schema.String }),
  primaryKey: "id",
  unique: { email: ["email"] }
}) {}

export class Posts extends Resource.Service<Posts>()("effect-s3db/test/plugins/relations/posts", {
  schema: Schema.Struct({
    id: Schema.String,
    userId: Schema.String,
    editor: Schema.optionalKey(Schema.String),
    title: Schema.String,
    n: Schema.Int
  }),
  primaryKey: "id",
  partitions: { byUser: ["userId"] }
}) {}

export class Comments extends Resource.Service<Comments>()("effect-s3db/test/plugins/relations/comments", {
  schema: Schema.Struct({ id: Schema.String, postId: Schema.String, by: Schema.String, text: Schema.String }),
  primaryKey: "id",
  partitions: { byPost: ["postId"] }
}) {}

export class Tags extends Resource.Service<Tags>()("effect-s3db/test/plugins/relations/tags", {
  schema: Schema.Struct({ id: Schema.String, label: Schema.String }),
  primaryKey: "id"
}) {}

export class PostTags extends Resource.Service<PostTags>()("effect-s3db/test/plugins/relations/post-tags", {
  schema: Schema.Struct({ id: Schema.String, postId: Schema.String, tagId: Schema.String }),
  primaryKey: "id",
  partitions: { byPost: ["postId"], byTag: ["tagId"] }
}) {}

export class Blog extends Relation.Service<Blog>()("effect-s3db/test/plugins/relations/Blog", {
  resources: () => ({
    users: Users,
    profiles: Profiles,
    posts: Posts,
    comments: Comments,
    tags: Tags,
    postTags: PostTags
  }),
  relations: {
    users: {
      posts: { hasMany: "posts", key: "userId" },
      profile: { hasOne: "profiles", key: "email", references: "email" },
      manager: { belongsTo: "users", key: "managerId" },
      reports: { hasMany: "users", key: "managerId" },
      edited: { hasMany: "posts", key: "editor", scan: true }
    },
    profiles: { user: { belongsTo: "users", key: "email", references: "email" } },
    posts: {
      author: { belongsTo: "users", key: "userId" },
      comments: { hasMany: "comments", key: "postId" },
      tags: { belongsToMany: "tags", through: "postTags", from: "postId", to: "tagId" }
    },
    comments: { author: { belongsTo: "users", key: "by" }, post: { belongsTo: "posts", key: "postId" } },
    tags: { posts: { belongsToMany: "posts", through: "postTags", from: "tagId", to: "postId" } }
  }
}) {}

/** A process on a store, with everything of the blog. */
export const blogOn = Effect.fnUntraced(function* (store: ObjectStore["Service"]) {
  const { database } = yield* openOn(store)
  const layer = Blog.layer.pipe(
    Layer.provideMerge(
      Layer.mergeAll(Users.layer, Profiles.layer, Posts.layer, Comments.layer, Tags.layer, PostTags.layer)
    ),
    Layer.provide(Layer.succeed(Database, database))
  )
  const context = yield* Layer.build(layer)
  return yield* Effect.provideContext(
    Effect.gen(function* () {
      return {
        database,
        blog: yield* Blog,
        users: yield* Users,
        profiles: yield* Profiles,
        posts: yield* Posts,
        comments: yield* Comments,
        tags: yield* Tags,
        postTags: yield* PostTags
      }
    }),
    context
  )
})
