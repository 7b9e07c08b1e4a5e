/** The document of the suites `repository`, `scale` and `resident`. */

/** Nine fields, two of them nested. */
export const user = (i: number) => ({
  id: `user-${i}`,
  name: "José da Silva",
  email: "jose@example.com",
  age: 20 + (i % 50),
  active: true,
  joined: new Date(1705314600000),
  tags: ["a", "b"],
  address: { city: "São Paulo", zip: "01310-100" }
})

/** For those that hold what JSON holds. */
export const plain = (i: number) => ({ ...user(i), joined: "2024-01-15T10:30:00.000Z" })
