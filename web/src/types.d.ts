declare module "texts:en" { const texts: Record<string, string>; export default texts; }
declare module "texts:it" { const texts: Record<string, string>; export default texts; }
declare module "texts:fr" { const texts: Record<string, string>; export default texts; }
declare module "screens:all" {
  const folders: Record<string, () => Promise<{ routes: import("./ui/screen").Screen[] }>>;
  export default folders;
}
