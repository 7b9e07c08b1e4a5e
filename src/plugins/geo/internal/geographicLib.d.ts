/** An optional package: who does not have it can compile all the same. */
declare module "geographiclib-geodesic" {
  const all: {
    readonly Geodesic: {
      /** What is asked for. */
      readonly DISTANCE: number
      readonly WGS84: {
        readonly Inverse: (
          latitude: number,
          longitude: number,
          latitude2: number,
          longitude2: number,
          wanted: number
        ) => { readonly s12?: number }
      }
    }
  }
  export default all
}
