import { t } from "../../i18n";
import { go, type Params } from "../../router";
import { Page, Tabs, type Screen } from "../../ui";
import { Audit } from "./audit";
import { Erase } from "./erase";
import { Export } from "./export";
import { Tokens, Users } from "./people";

const parts = { users: Users, tokens: Tokens, audit: Audit, export: Export, erase: Erase };

function Settings({ params }: { params: Params }) {
  const at = (params["part"] ?? "users") as keyof typeof parts;
  const Part = parts[at] ?? Users;
  return (
    <Page title={t("settings.title")}>
      <Tabs label={t("settings.title")} active={at in parts ? at : "users"} onChange={(id) => go(`/settings/${id}`, true)} tabs={Object.keys(parts).map((id) => ({ id, label: t(`settings.${id}`) }))}><Part /></Tabs>
    </Page>
  );
}

export const routes: Screen[] = [{ path: "/settings", view: Settings }, { path: "/settings/:part", view: Settings }];
