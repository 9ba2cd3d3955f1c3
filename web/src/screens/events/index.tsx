import type { Screen } from "../../ui";
import { EventDetail } from "./event";
import { EventList } from "./list";
import { TimelineScreen } from "./timeline";

export const routes: Screen[] = [
  { path: "/events", view: EventList },
  { path: "/events/*id", view: EventDetail },
  { path: "/orders/*id", view: ({ params }) => <TimelineScreen kind="orders" id={params["id"] ?? ""} /> },
  { path: "/contacts/*id", view: ({ params }) => <TimelineScreen kind="contacts" id={params["id"] ?? ""} /> },
];
