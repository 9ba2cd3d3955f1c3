package getresponse

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestMessages: a newsletter goes to the contacts that it names, and to nobody who left.
func TestMessages(t *testing.T) {
	f := start(t, Options{})
	if err := f.Subscribe("jo@example.com", "Jo", "C"); err != nil {
		t.Fatal(err)
	}
	contact := f.Contacts()[0].ID
	draft := f.AddDraft(Draft{Name: "Hello", Subject: "Hi there", HTML: "<p>", Plain: "p"})
	body := func(from, list, to string) string {
		return fmt.Sprintf(`{"name":"Hello 1","type":"broadcast","subject":"Hi","fromField":{"fromFieldId":%q},"campaign":{"campaignId":%q},
			"content":{"html":"<p>","plain":"p"},"sendSettings":{"selectedContacts":[%q]}}`, from, list, to)
	}
	for _, c := range []struct {
		name, body   string
		status, code int
	}{
		{"sent", body("F1", "C", contact), 201, 0},
		{"no such sender", body("F2", "C", contact), 400, 1001},
		{"no such list", body("F1", "zz", contact), 400, 1001},
		{"no such contact", body("F1", "C", "zz"), 400, 1001},
		{"no subject", strings.Replace(body("F1", "C", contact), `"subject":"Hi"`, `"subject":""`, 1), 400, 1000},
		{"nobody", strings.Replace(body("F1", "C", contact), `["`+contact+`"]`, `[]`, 1), 400, 1005},
		{"a member that is none", strings.Replace(body("F1", "C", contact), `"type"`, `"kind"`, 1), 400, 1000},
	} {
		res, text := f.call(t, "POST", "/v3/newsletters", c.body)
		if res.StatusCode != c.status || c.code != 0 && !strings.Contains(text, fmt.Sprintf(`"code":%d,`, c.code)) {
			t.Errorf("%s: got %d: %s", c.name, res.StatusCode, text)
		}
	}
	if got := f.Messages(); len(got) != 1 || got[0].Email != "jo@example.com" || got[0].Name != "Hello 1" || got[0].HTML != "<p>" {
		t.Errorf("got %+v", got)
	}
	for path, want := range map[string]string{
		"/v3/newsletters?query%5Bname%5D=hello": `"name":"Hello 1"`, "/v3/newsletters/" + draft: `"fromField":{"fromFieldId":"F1"`,
		"/v3/newsletters/zz": `"code":1013`, "/v3/newsletters?query%5Bx%5D=y": `"code":1000`,
	} {
		if _, text := f.call(t, "GET", path, ""); !strings.Contains(text, want) {
			t.Errorf("%s: got %s, want %s in it", path, text, want)
		}
	}
	if _, text := f.call(t, "GET", "/v3/newsletters", ""); strings.Contains(text, "<p>") {
		t.Error("the list shows content, as the original's does not")
	}
	f.Unsubscribe("jo@example.com", "C")
	if res, _ := f.call(t, "POST", "/v3/newsletters", body("F1", "C", contact)); res.StatusCode != 400 {
		t.Errorf("who left gets messages: %d", res.StatusCode)
	}
}

// TestShopsAndProducts: an order is of variants that its shop has.
func TestShopsAndProducts(t *testing.T) {
	f := start(t, Options{})
	if err := f.Subscribe("jo@example.com", "Jo", "C"); err != nil {
		t.Fatal(err)
	}
	made := func(path, body string, want int) map[string]any {
		t.Helper()
		res, text := f.call(t, "POST", path, body)
		if res.StatusCode != want {
			t.Fatalf("POST %s: got %d: %s", path, res.StatusCode, text)
		}
		out := map[string]any{}
		if err := json.Unmarshal([]byte(text), &out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	made("/v3/shops", `{"name":"abc","locale":"EN","currency":"EUR"}`, 400)
	made("/v3/shops", `{"name":"Second","locale":"EN","currency":"euro"}`, 400)
	shop := made("/v3/shops", `{"name":"Second","locale":"EN","currency":"EUR"}`, 201)["shopId"].(string)
	products := "/v3/shops/" + shop + "/products"
	made("/v3/shops/zz/products", `{"name":"Payment","variants":[{"name":"Payment","sku":"ab","price":0,"priceTax":0}]}`, 404)
	made(products, `{"name":"Payment","variants":[]}`, 400)
	made(products, `{"name":"Payment","variants":[{"name":"Payment","sku":"ab","price":0}]}`, 400)
	product := made(products, `{"name":"Payment","externalId":"e1","variants":[{"name":"Payment","sku":"ab","price":0,"priceTax":0}]}`, 201)
	variant := product["variants"].([]any)[0].(map[string]any)["variantId"].(string)
	for query, want := range map[string]int{"e1": 1, "e2": 0} {
		_, text := f.call(t, "GET", products+"?query%5BexternalId%5D="+query, "")
		if got := strings.Count(text, `"productId"`); got != want {
			t.Errorf("%s: got %d products, want %d", query, got, want)
		}
	}
	order := `{"contactId":"` + f.Contacts()[0].ID + `","externalId":"o1","totalPrice":1.50,"currency":"EUR","billingStatus":"PENDING",
		"metaFields":[{"name":"paid","value":"0","valueType":"string"}],"selectedVariants":[{"variantId":"VARIANT","price":1.5,"priceTax":1.5,"quantity":1}]}`
	made("/v3/shops/"+shop+"/orders", order, 400)
	made("/v3/shops/pf3/orders", strings.Replace(order, "VARIANT", variant, 1), 400) // another shop's
	made("/v3/shops/"+shop+"/orders", strings.Replace(order, "VARIANT", variant, 1), 201)
	got := f.PlacedOrders()
	got[0].ID, got[0].ContactID = "", ""
	want := []PlacedOrder{{Shop: "Second", ExternalID: "o1", BillingStatus: "PENDING", Total: "1.50", Currency: "EUR", Meta: map[string]string{"paid": "0"}}}
	if d := cmp.Diff(got, want); d != "" {
		t.Errorf("got - want:\n%s", d)
	}
}

// TestWorkflows: a changed billing status runs those that wait for it, once for each contact unless told otherwise.
func TestWorkflows(t *testing.T) {
	f := start(t, Options{})
	f.AddWorkflow(Workflow{Name: "once", Shop: "Monster market", Status: "PAID"})
	f.AddWorkflow(Workflow{Name: "many", Many: true})
	f.AddWorkflow(Workflow{Name: "elsewhere", Shop: "Second"})
	if err := f.Subscribe("jo@example.com", "Jo", "C"); err != nil {
		t.Fatal(err)
	}
	placed := func() string {
		_, text := f.call(t, "POST", "/v3/shops/pf3/orders", `{"contactId":"`+f.Contacts()[0].ID+`","totalPrice":1,"currency":"EUR","billingStatus":"PAID","selectedVariants":[]}`)
		_, id, _ := strings.Cut(text, `"orderId":"`)
		id, _, _ = strings.Cut(id, `"`)
		return "/v3/shops/pf3/orders/" + id
	}
	first, second := placed(), placed()
	for _, step := range []struct{ path, status string }{
		{first, "PENDING"}, {first, "PAID"}, {first, "PAID"}, {second, "PENDING"}, {second, "PAID"}, {second + "?additionalFlags=skipAutomation", "REFUNDED"},
	} {
		if res, text := f.call(t, "POST", step.path, `{"billingStatus":"`+step.status+`"}`); res.StatusCode != 200 {
			t.Fatalf("got %d: %s", res.StatusCode, text)
		}
	}
	var got []string
	for _, r := range f.WorkflowRuns() {
		got = append(got, r.Workflow+" "+r.From+" "+r.To)
	}
	want := []string{"many PAID PENDING", "once PENDING PAID", "many PENDING PAID", "many PAID PENDING", "many PENDING PAID"}
	if d := cmp.Diff(got, want); d != "" {
		t.Errorf("got - want:\n%s", d)
	}
	f.Unsubscribe("jo@example.com", "C")
	f.call(t, "POST", first, `{"billingStatus":"FAILED"}`)
	if n := len(f.WorkflowRuns()); n != len(want) {
		t.Error("a workflow runs for someone on no list")
	}
	if _, text := f.call(t, "GET", "/v3/workflow", ""); strings.Count(text, `"workflowId"`) != 3 || !strings.Contains(text, `"completedCount":4`) {
		t.Errorf("got %s", text)
	}
}
