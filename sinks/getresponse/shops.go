package getresponse

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
)

// What is made at GetResponse for orders. Its panel makes no store without a plugin, and an order needs a product.
const (
	shopLocale       = "EN"
	productID        = "tillstream-payment" // external id and SKU
	productName      = "Payment"
	shopNameCharsMin = 4
	shopNameCharsMax = 124
	variantsMax      = 1000 // stores whose product is remembered
)

// shopThere returns the store that a word names; without a word, the account's only one. ok is false where there is none.
func (c *catalogue) shopThere(ctx context.Context, word string) (found named, ok bool, fail *failure) {
	if fail = c.turn.take(ctx); fail != nil {
		return named{}, false, fail
	}
	defer c.turn.give()
	if word != "" {
		return c.pick(ctx, &c.shops, word)
	}
	if c.stale(c.shops.at, len(c.shops.rows) == 0) {
		if fail = c.read(ctx, &c.shops); fail != nil {
			return named{}, false, fail
		}
	}
	switch len(c.shops.rows) {
	case 0:
		return named{}, false, nil
	case 1:
		return c.shops.rows[0], true, nil
	}
	return named{}, false, reject("name the store in the action, and replay: "+c.shops.names(), "the account has several stores and the action names none")
}

// shop is shopThere, and makes the store that a word names.
func (c *catalogue) shop(ctx context.Context, word, currency string) (named, *failure) {
	found, ok, fail := c.shopThere(ctx, word)
	if fail != nil || ok {
		return found, fail
	}
	if n := utf8.RuneCountInString(word); n < shopNameCharsMin || n > shopNameCharsMax {
		return named{}, reject("name the store in the action: 4 to 124 characters, it is made when there is none", "there is no store %s in getresponse", quoted(word))
	}
	if fail := c.turn.take(ctx); fail != nil {
		return named{}, fail
	}
	defer c.turn.give()
	r := c.api.call(ctx, http.MethodPost, "/shops", nil, map[string]string{"name": word, "locale": shopLocale, "currency": currency})
	var made struct {
		ID string `json:"shopId"`
	}
	if !r.ok(&made) {
		if fail := classify(r); fail.code != codeTaken && fail.kind != failUnknown {
			return named{}, fail
		}
	}
	// Made, or made by another: of two, all take the older one.
	if fail := c.read(ctx, &c.shops); fail != nil {
		return named{}, fail
	}
	if found, ok, _ := c.shops.find(word); ok {
		return found, nil
	}
	if made.ID != "" {
		// The list lags behind. It is kept, so that no second one is made.
		found = named{id: made.ID, name: word}
		c.shops.rows = append(c.shops.rows, found)
		return found, nil
	}
	return named{}, &failure{kind: failRetry, cause: "the store " + quoted(word) + " is not to be seen yet", remedy: remedyAgain, retryAfter: queueSteps[0]}
}

func (c *catalogue) forgetShops(ctx context.Context) {
	if c.turn.take(ctx) != nil {
		return
	}
	defer c.turn.give()
	c.shops.at = time.Time{}
}

// variant returns the id of the one variant of the store's product for payments, which is made where it is missing.
func (c *catalogue) variant(ctx context.Context, shop named) (string, *failure) {
	if fail := c.turn.take(ctx); fail != nil {
		return "", fail
	}
	defer c.turn.give()
	if known, ok := c.variants[shop.id]; ok {
		return known.id, nil
	}
	id, fail := c.readVariant(ctx, shop)
	if fail != nil || id != "" {
		return id, fail
	}
	r := c.api.call(ctx, http.MethodPost, shopPath(shop)+"/products", nil, map[string]any{
		"name": productName, "externalId": productID,
		"variants": []map[string]any{{"name": productName, "sku": productID, "externalId": productID, "price": 0, "priceTax": 0}},
	})
	var made product
	if r.ok(&made) && made.variant() != "" {
		c.remember(shop, made.variant())
		return made.variant(), nil
	}
	if !r.ok(nil) {
		if fail := classify(r); fail.code != codeTaken && fail.kind != failUnknown {
			return "", fail
		}
	}
	if id, fail = c.readVariant(ctx, shop); fail == nil && id == "" {
		fail = &failure{kind: failRetry, cause: "the product for payments is not to be seen yet in the store " + quoted(shop.name), remedy: remedyAgain, retryAfter: queueSteps[0]}
	}
	return id, fail
}

// product is one of a store, with what may be bought of it.
type product struct {
	ExternalID string `json:"externalId"`
	Variants   []struct {
		ID string `json:"variantId"`
	} `json:"variants"`
}

func (p product) variant() string {
	if len(p.Variants) == 0 {
		return ""
	}
	return p.Variants[0].ID
}

// readVariant looks for the product; "": there is none. One that shows no variant is told, so that no second one is made.
func (c *catalogue) readVariant(ctx context.Context, shop named) (id string, fail *failure) {
	there := false
	query := url.Values{"query[externalId]": {productID}}
	fail = c.api.pages(ctx, shopPath(shop)+"/products", query, fieldsPerPage, func(body []byte) (int, error) {
		var page []product
		err := json.Unmarshal(body, &page)
		for _, p := range page {
			if strings.EqualFold(p.ExternalID, productID) {
				there = true
				id = cmp.Or(id, p.variant())
			}
		}
		return len(page), err
	})
	switch {
	case fail != nil:
		return "", fail
	case id != "":
		c.remember(shop, id)
	case there:
		return "", reject("delete the product in GetResponse, and replay: it is made again", "the product %s of the store %s has no variant", productID, quoted(shop.name))
	}
	return id, nil
}

func (c *catalogue) remember(shop named, id string) {
	if c.variants == nil || len(c.variants) >= variantsMax {
		c.variants = map[string]variant{}
	}
	c.variants[shop.id] = variant{id, c.now()}
}

// variant is what orders of one store are of.
type variant struct {
	id string
	at time.Time // when it was read
}

// forgetVariant drops the store's product, and the stores, for something that the account no longer has. It reports
// whether it was known for long enough to be the reason.
func (c *catalogue) forgetVariant(ctx context.Context, shop named) (bool, *failure) {
	if fail := c.turn.take(ctx); fail != nil {
		return false, fail
	}
	defer c.turn.give()
	known, ok := c.variants[shop.id]
	if !ok || c.now().Sub(known.at) < refreshEvery {
		return false, nil
	}
	delete(c.variants, shop.id)
	c.shops.at = time.Time{}
	return true, nil
}
