import type { Screen } from "../../ui";
import { Account } from "./account";
import { List } from "./list";
import { Wizard } from "./wizard";

export const routes: Screen[] = [
  { path: "/connections", view: List },
  { path: "/connections/new", view: Wizard },
  { path: "/connections/:name", view: Account },
];
