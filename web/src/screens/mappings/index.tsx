import type { Screen } from "../../ui";
import { List } from "./list";
import { Mapping } from "./mapping";

export const routes: Screen[] = [
  { path: "/mappings", view: List },
  { path: "/mappings/:name", view: Mapping },
];
