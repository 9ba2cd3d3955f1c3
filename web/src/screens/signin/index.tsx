import { t } from "../../i18n";
import { go, query } from "../../router";
import { session, SignInForm } from "../../session";
import { signInNeeded } from "../../api";
import { Card, LinkButton, Page, type Screen } from "../../ui";

function SignIn() {
  const s = session.value;
  // Only an address of this page is gone to: what follows the name of a host would be another's.
  const wanted = query.value["to"] ?? "/";
  const to = /^\/(?![/\\])/.test(wanted) ? wanted : "/";
  const done = Boolean(s && (s.user || !s.sign_in_required));
  return (
    <Page title={t("shell.signin")}>
      <Card>
        {done ? <><p>{t("shell.signin.done")}</p><LinkButton href={to} kind="primary">{t("shell.overview")}</LinkButton></>
          : signInNeeded.value ? <p class="muted">{t("shell.signin.why")}</p> : <SignInForm onDone={() => go(to)} />}
      </Card>
    </Page>
  );
}

export const routes: Screen[] = [{ path: "/sign-in", view: SignIn }];
