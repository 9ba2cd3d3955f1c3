import type { ComponentType } from "preact";
import type { Params } from "../router";

/** A screen: the pattern of its address and what is shown there. screens/NAME/index.tsx exports a list as `routes`. */
export interface Screen {
  path: string;
  view: ComponentType<{ params: Params }>;
}
