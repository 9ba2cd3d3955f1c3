package getresponse

import (
	"context"
	"encoding/json"
	"math/big"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// Bounds and forms of an order.
const (
	externalIDMax  = 255
	statusMax      = 64
	amountCharsMax = 40
	metaValueMax   = 65_000
	timeForm       = "2006-01-02T15:04:05-0700" // no colon in the offset, no fraction
	// firstStatus is the billing status that an order is created with. GetResponse's condition "Payment status changed"
	// speaks of changes only, so that the real status comes as one.
	firstStatus   = string(schemas.StatusPending)
	skipFlag      = "skipAutomation" // of additionalFlags: the order starts no "Make a purchase"
	remedyMapping = "correct the order's values in the action, and replay"
)

var (
	currencyForm = regexp.MustCompile(`^[A-Z]{3}$`)
	priceMax     = big.NewRat(99_999_999_999_999, 100)
)

// orderForm is an order as the command wants it.
type orderForm struct {
	externalID, shop string
	billing, status  string
	total            string // decimal
	currency         string
	made             string
	meta             []metaField
	quiet            bool // of the past, or of a test: no workflow is to start on it
}

type metaField struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Type  string `json:"valueType"`
}

// metas are the arguments that an order of GetResponse has no place for; they become its meta fields.
var metas = []struct{ argument, name string }{
	{"number", "order_number"}, {"paid", "paid"}, {"refunded", "refunded"}, {"event_type", "event_type"},
}

// orderOf reads an order from a command.
func orderOf(cmd *schemas.Command) (*orderForm, *failure) {
	in := cmd.Effect.Arguments
	o := &orderForm{
		externalID: strings.TrimSpace(cmd.Effect.Name), shop: strings.TrimSpace(in["shop"]), billing: in["status"], status: cut(in["provider_status"], statusMax),
		total: strings.TrimSpace(in["amount"]), currency: strings.ToUpper(strings.TrimSpace(in["currency"])),
		quiet: cmd.Test || cmd.Origin == schemas.OriginBackfill || cmd.Origin == schemas.OriginReplay,
	}
	price, number := decimal(o.total)
	switch {
	case o.externalID == "" || utf8.RuneCountInString(o.externalID) > externalIDMax:
		return nil, reject(remedyMapping, "the order has no id, or one of more than %d characters", externalIDMax)
	case o.billing == "" || utf8.RuneCountInString(o.billing) > statusMax:
		return nil, reject(remedyMapping, "the order has no payment status, or one of more than %d characters", statusMax)
	case !number || len(o.total) > amountCharsMax || price.Sign() < 0 || price.Cmp(priceMax) > 0:
		return nil, reject(remedyMapping, "the order's amount %s is none that getresponse takes", quoted(o.total))
	case !currencyForm.MatchString(o.currency):
		return nil, reject(remedyMapping, "the order's currency %s is no ISO code", quoted(o.currency))
	}
	o.total = plain(o.total)
	if at, err := time.Parse(time.RFC3339, in["time"]); err == nil {
		o.made = at.UTC().Format(timeForm)
	}
	for _, m := range metas {
		if value := in[m.argument]; value != "" {
			o.meta = append(o.meta, metaField{m.name, cut(value, metaValueMax), "string"})
		}
	}
	return o, nil
}

// plain is a decimal that is not below nothing, in the form of a JSON number: no sign, no needless zeros in front.
func plain(text string) string {
	text = strings.TrimSuffix(strings.TrimLeft(text, "+-0"), ".")
	if text == "" || text[0] == '.' {
		return "0" + text
	}
	return text
}

// order is what the API shows of one.
type order struct {
	ID         string      `json:"orderId"`
	ExternalID string      `json:"externalId"`
	Billing    string      `json:"billingStatus"`
	Status     string      `json:"status"`
	Total      json.Number `json:"totalPrice"`
	Currency   string      `json:"currency"`
	Meta       []metaField `json:"metaFields"`
}

// changes are the members of an order that are not as they should be.
func (f *orderForm) changes(have *order) map[string]any {
	out := map[string]any{}
	if f.billing != have.Billing {
		out["billingStatus"] = f.billing
	}
	if f.status != "" && f.status != have.Status {
		out["status"] = f.status
	}
	want, _ := decimal(f.total)
	if is, ok := decimal(have.Total.String()); !ok || is.Cmp(want) != 0 || f.currency != have.Currency {
		out["totalPrice"], out["currency"] = json.Number(f.total), f.currency
	}
	// They are replaced whole, so that what others wrote is repeated.
	meta := slices.Clone(have.Meta)
	differs := false
	for _, m := range f.meta {
		i := slices.IndexFunc(meta, func(x metaField) bool { return x.Name == m.Name })
		switch {
		case i < 0:
			meta, differs = append(meta, m), true
		case meta[i].Value != m.Value:
			meta[i], differs = m, true
		}
	}
	if differs {
		out["metaFields"] = meta
	}
	return out
}

// writeOrder creates the order or brings it up to date. Only its creation must not be repeated blindly: GetResponse may
// take the same external id twice.
func (w *writer) writeOrder(ctx context.Context, cmd *schemas.Command) sinks.Outcome {
	form, fail := orderOf(cmd)
	if fail != nil {
		return fail.outcome(false)
	}
	email, fail := address(&cmd.Contact)
	if fail != nil {
		return fail.outcome(false)
	}
	shop, fail := w.catalogue.shop(ctx, form.shop, form.currency)
	if fail != nil {
		return fail.outcome(false)
	}
	have, fail := w.order(ctx, shop, form.externalID)
	if fail != nil {
		return fail.outcome(false)
	}
	if have == nil {
		if have, fail = w.createOrder(ctx, cmd, form, shop, email); fail != nil {
			return fail.outcome(true)
		}
	}
	change := form.changes(have)
	if len(change) == 0 {
		return fail.outcome(false)
	}
	r := w.api.call(ctx, http.MethodPost, shopPath(shop)+"/orders/"+url.PathEscape(have.ID), form.flags(), change)
	if !r.ok(nil) {
		if fail = classify(r); fail.code == codeNotFound {
			// Deleted since it was looked up.
			fail.kind, fail.retryAfter, fail.remedy = failRetry, queueSteps[0], remedyAgain
		}
	}
	return fail.outcome(false)
}

func shopPath(shop named) string { return "/shops/" + url.PathEscape(shop.id) }

func (f *orderForm) flags() url.Values {
	if f.quiet {
		return url.Values{"additionalFlags": {skipFlag}}
	}
	return nil
}

// order looks an order up by our id; of several, which only others can have made, the oldest counts. nil: there is none.
func (w *writer) order(ctx context.Context, shop named, externalID string) (found *order, fail *failure) {
	query := url.Values{"query[externalId]": {externalID}, "sort[createdOn]": {"ASC"}}
	fail = w.api.pages(ctx, shopPath(shop)+"/orders", query, rowsPerPage, func(body []byte) (int, error) {
		var page []order
		err := json.Unmarshal(body, &page)
		for i, x := range page {
			if x.ExternalID == externalID && found == nil {
				found = &page[i]
			}
		}
		return len(page), err
	})
	if fail != nil && fail.code == codeNotFound {
		w.catalogue.forgetShops(ctx)
		fail.kind, fail.remedy = failRetry, remedyAgain
	}
	return found, fail
}

// createOrder makes the order, pending first unless no workflow is to start, and returns it as it was sent.
func (w *writer) createOrder(ctx context.Context, cmd *schemas.Command, form *orderForm, shop named, email string) (*order, *failure) {
	// Whatever goes wrong before the order is sent, it has not been made.
	before := func(fail *failure) (*order, *failure) {
		if fail.kind == failUnknown {
			fail.kind = failRetry
		}
		return nil, fail
	}
	variant, fail := w.catalogue.variant(ctx, shop)
	if fail != nil {
		return before(fail)
	}
	contactID, fail := w.known(ctx, cmd, email)
	if fail != nil {
		return before(fail)
	}
	billing := firstStatus
	if form.quiet {
		billing = form.billing
	}
	total := json.Number(form.total)
	body := map[string]any{
		"contactId": contactID, "externalId": form.externalID, "totalPrice": total, "currency": form.currency, "billingStatus": billing,
		"selectedVariants": []map[string]any{{"variantId": variant, "price": total, "priceTax": total, "quantity": 1}},
	}
	if form.status != "" {
		body["status"] = form.status
	}
	if form.made != "" {
		body["processedAt"] = form.made
	}
	if len(form.meta) > 0 {
		body["metaFields"] = form.meta
	}
	r := w.api.call(ctx, http.MethodPost, shopPath(shop)+"/orders", form.flags(), body)
	var made struct {
		ID string `json:"orderId"`
	}
	if r.ok(&made) && made.ID != "" {
		return &order{ID: made.ID, Billing: billing, Status: form.status, Total: total, Currency: form.currency, Meta: form.meta}, nil
	}
	fail = classify(r)
	switch {
	case fail.code == codeTaken || fail.status == http.StatusConflict:
		// There is one, and the list does not show it yet.
		fail.kind, fail.retryAfter, fail.remedy = failRetry, queueSteps[0], remedyAgain
	case fail.code == codeRelated:
		return nil, w.orderOfWhat(ctx, shop, contactID, email, fail)
	}
	fail.mayHaveHappened()
	return nil, fail
}

// orderOfWhat judges an order that was refused because something that it names does not exist.
func (w *writer) orderOfWhat(ctx context.Context, shop named, contactID, email string, fail *failure) *failure {
	have, gone := w.read(ctx, contactID, email)
	if gone == nil && have == nil {
		w.people.forget(email)
		fail.kind, fail.retryAfter = failRetry, queueSteps[0]
		return fail
	}
	old, cut := w.catalogue.forgetVariant(ctx, shop)
	switch {
	case cut != nil:
		return cut
	case old:
		fail.kind, fail.retryAfter = failRetry, queueSteps[0]
	}
	return fail
}

// orderWritten is Reconcile for orders: whether the order is there as the command wants it. An order that is only half
// there has not happened, and is completed by writing it again.
func (w *writer) orderWritten(ctx context.Context, cmd *schemas.Command) (bool, *failure) {
	form, fail := orderOf(cmd)
	if fail != nil {
		return false, fail
	}
	shop, ok, fail := w.catalogue.shopThere(ctx, form.shop)
	if fail != nil || !ok {
		return false, fail
	}
	have, fail := w.order(ctx, shop, form.externalID)
	return have != nil && len(form.changes(have)) == 0, fail
}
