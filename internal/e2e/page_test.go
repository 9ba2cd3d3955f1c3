package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/tillstream/tillstream/internal/audit"
	"github.com/tillstream/tillstream/simulators/story"
	"github.com/tillstream/tillstream/web/browsertest"
)

// person sits before the page of a running program and has nothing but its mouse and keyboard.
type person struct {
	*browsertest.Tab
	t *testing.T
	w *world
}

// TestThePageLeadsThroughAnAccountsLife does on the page, against the running program, what a user does there: connects an
// account, maps a field, sees an order arrive, changes the mapping, builds a workflow and watches its branches.
func TestThePageLeadsThroughAnAccountsLife(t *testing.T) {
	t.Parallel()
	browsertest.Chromium(t) // before anything else: where there is none, there is no test
	w := newWorld(t)
	w.withoutWorkflows(t)
	for _, file := range []string{"connections/paypal-eu.yaml", "mappings/orders.yaml", "mappings/subscriptions.yaml"} {
		if err := os.Remove(filepath.Join(w.config, file)); err != nil {
			t.Fatal(err)
		}
	}
	w.dev(t)
	w.awaitReady(t)
	p := &person{browsertest.Open(t, "http://"+w.management, "/", browsertest.View{}), t, w}
	first, _, _ := order(1, "first@example.com")

	p.connects()
	p.seesArrive(first)
	p.changesTheMapping()
	p.changesResources()
	p.disconnectsAndReconnects()
	p.buildsTheWorkflow()
	p.watchesItsBranches()
	p.readsHostileTexts()
	p.Quiet()
}

// goes opens a place of the menu.
func (p *person) goes(href string) {
	p.t.Helper()
	p.Click(fmt.Sprintf("nav.side a[href=%q]", href))
	p.At(href)
	p.Settled()
}

// fills types over what a field holds. A dialog takes the focus to itself when it opens.
func (p *person) fills(selector, text string) {
	p.t.Helper()
	p.Until(fmt.Sprintf(`document.querySelector(%q).closest("dialog")?.open ?? true`, selector))
	p.Do(fmt.Sprintf("const e = document.querySelector(%q); e.focus(); e.select()", selector))
	p.Keys(text)
	p.Until(fmt.Sprintf("document.querySelector(%q)?.value === %q", selector, text))
}

// chooses takes an option of a select, whose list the browser draws outside of the page.
func (p *person) chooses(selector, value string) {
	p.t.Helper()
	p.Sees(selector + fmt.Sprintf(" option[value=%q]", value))
	p.Do(fmt.Sprintf(`const s = document.querySelector(%q); s.value = %q; s.dispatchEvent(new Event("change", {bubbles: true}))`, selector, value))
}

// presses clicks the button or link of a text.
func (p *person) presses(within, text string) {
	p.t.Helper()
	find := fmt.Sprintf(`[...document.querySelectorAll(%q)].find((e) => e.innerText.trim() === %q || e.ariaLabel === %q)`, within+" button, "+within+" a", text, text)
	p.Until("!!" + find)
	p.Do(find + ".click()")
}

// reloadAfter is how long a person looks at a page before it is loaded anew.
const reloadAfter = 3 * time.Second

// reloadsUntil loads the page anew until it shows what the store has learned meanwhile.
func (p *person) reloadsUntil(what, expression string) {
	p.t.Helper()
	p.w.await(p.t, what, func() error {
		p.Run(chromedp.Reload())
		if !p.Within(reloadAfter, expression) {
			return errors.New("the page says: " + browsertest.Eval[string](p.Tab, `document.querySelector("main").innerText.slice(0, 1500)`))
		}
		return nil
	})
}

const mapped = "paypal-eu-checkout-order-approved" // as the wizard names a mapping

// connects leads the wizard from credentials to a mapping of one field.
func (p *person) connects() {
	p.t.Helper()
	p.goes("/connections")
	p.Click("[data-testid=connect]")
	p.chooses("[data-testid=type]", "paypal")
	p.fills("[data-testid=name]", "paypal-eu")
	p.fills("[data-testid=setting-client_id]", "paypal-eu-client")
	p.fills("[data-testid=setting-client_secret]", "mistaken")
	p.Click("main form summary")
	roots := filepath.Join(p.w.dir, "simulator-ca.pem")
	p.fills("[data-testid=setting-base_url]", p.w.paypalURL)
	p.fills("[data-testid=setting-certificate_hosts]", strings.TrimPrefix(p.w.paypalURL, "https://"))
	p.fills("[data-testid=setting-trust_file]", roots)
	p.Click("[data-testid=inside]")
	p.fills("[data-testid=roots]", roots)
	p.Shot("1-credentials")
	p.Click("[data-testid=next]")
	p.Sees("[data-testid=findings] .bad")
	p.Shot("1-refused")
	p.fills("[data-testid=setting-client_secret]", "made-up")
	p.Click("[data-testid=next]")

	p.Sees("[data-testid=resource-checkout-order-approved]:checked")
	p.Click("[data-testid=resource-billing-subscription]")
	p.Until(`!document.querySelector("[data-testid=resource-billing-subscription]").checked`)
	p.Shot("1-resources")
	p.Click("[data-testid=connect]")

	p.Sees("[data-testid=map-checkout-order-approved] [data-rule='0']")
	rows := browsertest.Eval[int](p.Tab, `document.querySelectorAll("[data-rule]").length`)
	p.Click("[data-testid=add]")
	row := fmt.Sprintf("[data-rule='%d'] ", rows)
	p.fills(row+"[data-testid=from]", "payer.given_name")
	p.fills(row+"[data-testid=to]", "LAST_PAYMENT")
	p.Shot("1-mapping")
	p.Click("[data-testid=map-save]")
	p.Sees(fmt.Sprintf(`a[href="/mappings/%s"]`, mapped))
	p.Click("[data-testid=finish]")
	p.Sees("[data-testid=done]")
	p.Says("/webhooks/paypal-eu")
	p.Shot("1-done")
}

// seesArrive watches an order come in live, and follows it to the CRM's answer.
func (p *person) seesArrive(e story.Event) {
	p.t.Helper()
	p.goes("/events")
	p.Click("[data-testid=live]")
	p.Until(`document.querySelector(".tailbar .badge.good")`)
	p.w.send(p.t, e)
	p.Sees(fmt.Sprintf(`[data-testid=tail] a[href="/events/%s"]`, e.ID))
	p.Shot("1-live")
	p.Click("[data-testid=live]")
	p.opens(e)
	for _, way := range []struct{ name, path string }{{"event", ""}, {"order", "main a[href^='/orders/']"}} {
		if way.path != "" {
			p.Click(way.path)
		}
		p.reloadsUntil("the way of the "+way.name+" leads to the CRM's answer", `/delivered/i.test(document.querySelector("[data-testid=hops] > li:last-child").innerText)`)
		p.Shot("1-" + way.name)
	}
}

// opens an event by its row in the list.
func (p *person) opens(e story.Event) {
	p.t.Helper()
	p.goes("/events")
	row := fmt.Sprintf(`[data-testid=events] a[href="/events/%s"]`, e.ID)
	p.reloadsUntil("the list has event "+e.ID, fmt.Sprintf("document.querySelector(%q)", row))
	p.Click(row)
	p.At("/events/" + e.ID)
	p.Settled()
}

// fieldIs is whether a contact has the value in a field of the CRM.
func fieldIs(field, want string) func(audit.CRMContact) bool {
	return func(c audit.CRMContact) bool { return c.Fields[field] == want }
}

// changesTheMapping has the field filled by something else, which counts for the later contact only.
func (p *person) changesTheMapping() {
	p.t.Helper()
	p.w.awaitContact(p.t, "first@example.com", "has his given name in the field", fieldIs("LAST_PAYMENT", "Max"))
	p.goes("/mappings")
	p.Click(fmt.Sprintf(`main a[href="/mappings/%s"]`, mapped))
	const row = `[...document.querySelectorAll("[data-rule]")].find((r) => r.querySelector("[data-testid=to]").value === "LAST_PAYMENT")`
	p.Until(row)
	n := browsertest.Eval[string](p.Tab, row+".dataset.rule")
	p.fills(fmt.Sprintf("[data-rule='%s'] [data-testid=from]", n), "payer.surname")
	p.putsInForce()
	p.Shot("2-in-force")
	later, _, _ := order(2, "later@example.com")
	p.w.send(p.t, later)
	p.w.awaitContact(p.t, "later@example.com", "has his surname in the field", fieldIs("LAST_PAYMENT", "Muster"))
	p.w.awaitContact(p.t, "first@example.com", "keeps his given name", fieldIs("LAST_PAYMENT", "Max"))
}

// changesResources adds one to the account and takes it away again.
func (p *person) changesResources() {
	p.t.Helper()
	p.goes("/connections")
	p.Click(`[data-testid=sources] a[href="/connections/paypal-eu"]`)
	p.Click("[data-testid=edit-resources]")
	p.Click("[data-testid=resources-dialog] [data-testid=resource-billing-subscription]")
	p.Shot("3-resources")
	p.Click("[data-testid=resources-yes]")
	p.Until(`document.querySelectorAll("[data-testid=resources] .resource").length === 2`)
	p.presses("[data-testid=resources]", "Remove the resource Billing subscription events")
	p.Says("Nothing that was synced is removed, and paypal-eu stays connected.")
	p.Shot("3-remove")
	p.Click("[data-testid=confirm-yes]")
	p.Until(`document.querySelectorAll("[data-testid=resources] .resource").length === 1 && !document.querySelector("dialog")`)
}

// disconnectsAndReconnects wants what comes meanwhile to find no webhook, and what comes then to be taken.
func (p *person) disconnectsAndReconnects() {
	p.t.Helper()
	before := p.w.accepted(p.t, "paypal-eu")
	p.Click("[data-testid=disconnect]")
	for _, says := range []string{"Everything that was synced stays: contacts, tags, events, reports.", "its webhook is removed at the provider"} {
		p.Says(says)
	}
	p.Shot("3-disconnect")
	p.Click("[data-testid=confirm-yes]")
	p.Sees("[data-testid=reconnect]")
	p.Shot("3-disconnected")
	missed, _, _ := order(3, "missed@example.com")
	p.w.send(p.t, missed)
	p.Click("[data-testid=reconnect]")
	p.Shot("3-reconnect")
	p.Click("[data-testid=reconnect-yes]")
	p.Sees("[data-testid=disconnect]")
	back, _, _ := order(4, "back@example.com")
	p.w.send(p.t, back)
	p.w.awaitContact(p.t, "back@example.com", "is there", fieldIs("LAST_PAYMENT", "Muster"))
	if after := p.w.accepted(p.t, "paypal-eu"); after != before+1 {
		p.t.Errorf("%d events were accepted by the webhook, %d before it was disconnected: want one more", after, before)
	}
	p.Shot("3-reconnected")
}

// buildsTheWorkflow makes it of the template: the message before the wait, the list behind it.
func (p *person) buildsTheWorkflow() {
	p.t.Helper()
	p.goes("/workflows")
	p.Click("[data-testid=new]")
	p.fills("[data-testid=new-name]", "chase")
	p.chooses("[data-testid=template]", "failed")
	p.Click("[data-testid=new-yes]")
	p.At("/workflows/chase")
	p.chosen("0", "wait-a-day")
	p.fills("[data-testid=key-not_met_after]", "10s")
	p.chosen("0.not_met.0", "payment-open")
	p.chooses("[data-testid=side] [data-testid=kind]", "move_to_list")
	p.fills("[data-testid=key-from]", "Customers")
	p.fills("[data-testid=key-to]", "Payment open")
	p.Shot("4-list")
	p.chosen("", "")
	p.chooses("[data-testid=side] [data-testid=insert-kind]", "send_message")
	p.Click("[data-testid=insert]")
	p.fills("[data-testid=key-send_message]", "Payment problem")
	p.Until(`/move_to_list:[^]*Payment open/.test(document.querySelector("main textarea").value) && document.querySelector("[data-place='1.not_met.0']")`)
	p.Shot("4-built")
	p.putsInForce()
}

// putsInForce saves what is edited and waits until it is followed.
func (p *person) putsInForce() {
	p.t.Helper()
	p.Click("[data-testid=apply]")
	p.Until(`document.querySelector("[data-testid=apply]").disabled`)
	p.Says("In force: later events follow it, earlier contacts stay as they are.")
}

// chosen clicks a box of the graph, and waits for its form.
func (p *person) chosen(place, detail string) {
	p.t.Helper()
	box := fmt.Sprintf("[data-testid=graph] g[data-place=%q]", place)
	p.Sees(box)
	p.Do(fmt.Sprintf(`document.querySelector(%q).dispatchEvent(new MouseEvent("click", {bubbles: true}))`, box))
	p.Until(fmt.Sprintf(`document.querySelector(%q).classList.contains("chosen") && document.querySelector(%q).textContent.includes(%q)`, box, box, detail))
}

// watchesItsBranches has one failed order be paid and another stay, and wants to see each go its way on the graph.
func (p *person) watchesItsBranches() {
	p.t.Helper()
	const mended, lost = "mended@example.com", "lost@example.com"
	for _, email := range []string{mended, lost} {
		p.w.subscribe(p.t, email, "Customers")
	}
	now := time.Now().Add(-3 * time.Second) // what happened before the account was connected is history, and starts nothing
	a1, r1, p1 := orderAt(5, mended, now)
	a2, r2, _ := orderAt(6, lost, now)
	p.w.odd = []string{a1.Root, a2.Root} // to be shown where the test fails
	p.w.send(p.t, a1, a2)
	p.w.send(p.t, r1, r2) // what is sent at once may come in any order
	p.w.send(p.t, p1)
	for _, branch := range []string{"met", "not_met"} {
		p.reloadsUntil("one run took the branch "+branch, fmt.Sprintf(`document.querySelector("[data-branch='wait-a-day %s'] .count").textContent.includes("1")`, branch))
	}
	p.Shot("4-counts")
	for _, email := range []string{mended, lost} {
		p.w.awaitMessages(p.t, email, map[string]int{"Payment problem": 1})
	}
	p.w.awaitContact(p.t, lost, "is on the list of open payments", func(c audit.CRMContact) bool {
		return fmt.Sprint(c.Lists) == "[Payment open]"
	})
	p.w.awaitContact(p.t, mended, "stays on his list and is recovered", func(c audit.CRMContact) bool {
		return fmt.Sprint(c.Lists) == "[Customers]" && strings.Contains(fmt.Sprint(c.Tags), "recovered")
	})
}

// hostile are texts that a page, a template or a database could take for more than texts.
var hostile = struct{ given, surname, order string }{`<img src=x onerror=alert(1)>`, `{{7*7}}`, `"><script>`}

// readsHostileTexts sends them as a customer's name and an order's id, and wants to read them as they are.
func (p *person) readsHostileTexts() {
	p.t.Helper()
	e, _, _ := order(7, "hostile@example.com")
	text := func(s string) string {
		b, err := json.Marshal(s)
		if err != nil {
			p.t.Fatal(err)
		}
		return string(b)
	}
	body := strings.NewReplacer(text(e.Root), text(hostile.order), `"Max"`, text(hostile.given), `"Muster"`, text(hostile.surname)).Replace(string(e.Body))
	e.Body, e.Root = []byte(body), hostile.order
	p.w.send(p.t, e)
	p.opens(e)
	p.shownAsText("the event", hostile.order)
	p.Click("[data-testid=personal]")
	p.Says(hostile.given)
	p.shownAsText("the event with personal data", hostile.given, hostile.surname, hostile.order)
	p.Shot("5-event")
	p.goes("/events")
	p.shownAsText("the list", hostile.order)
	p.Shot("5-events")
	p.presses("[data-testid=events]", hostile.order)
	p.At("/orders/" + (&url.URL{Path: "sandbox/paypal-eu/" + hostile.order}).EscapedPath())
	p.Sees("[data-testid=hops] > li")
	p.shownAsText("the order", hostile.order)
	p.Shot("5-order")
}

// shownAsText wants texts to be read in main, and none to have become an element or a sum.
func (p *person) shownAsText(where string, texts ...string) {
	p.t.Helper()
	said := browsertest.Eval[string](p.Tab, `document.querySelector("main").innerText`)
	for _, text := range texts {
		if !strings.Contains(said, text) {
			p.t.Errorf("%s does not say %q: %.2000s", where, text, said)
		}
	}
	if n := browsertest.Eval[int](p.Tab, `document.querySelectorAll("main img, main script").length`); n != 0 {
		p.t.Errorf("%s has %d elements that a text has become", where, n)
	}
}
