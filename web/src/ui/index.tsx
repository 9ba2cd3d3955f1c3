// What screens are made of. Everything here can be used by keyboard and by a screen reader; text of events is shown as
// text and never as markup.
export { Button, LinkButton, type ButtonProps } from "./button";
export { Field, TextInput, TextArea, Select, Check } from "./field";
export { Table, type Column } from "./table";
export { Dialog, Confirm } from "./dialog";
export { Tabs } from "./tabs";
export { toast, Toasts } from "./toast";
export { Empty, ErrorState, Loaded, Skeleton, Problems } from "./states";
export { Money, Time, Ago, Badge, Code, Copy, Facts, Progress, EnvironmentBadge, type Tone } from "./values";
export { Search } from "./search";
export { Page, Card } from "./page";
export type { Screen } from "./screen";
