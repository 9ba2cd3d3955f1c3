import type { Screen } from "../../ui";
import { List } from "./list";
import { Workflow } from "./workflow";

export const routes: Screen[] = [
  { path: "/workflows", view: List },
  { path: "/workflows/:name", view: Workflow },
];
