package getresponse

import (
	"encoding/json"
	"net/http"
	"strings"
	"unicode/utf8"
)

// product is one product of a shop. Server.mu guards it.
type product struct {
	id, name, externalID string
	variants             []object
}

func (p *product) show() object {
	return object{
		"productId": p.id, "href": "https://api.getresponse.com/v3/products/" + p.id, "name": p.name, "externalId": p.externalID, "variants": p.variants,
	}
}

func (s *Server) createShop(_ *http.Request, body []byte) (answerTo, error) {
	var in struct {
		Name     string `json:"name"`
		Locale   string `json:"locale"`
		Currency string `json:"currency"`
	}
	if err := read(body, &in); err != nil {
		return answerTo{}, err
	}
	if n := utf8.RuneCountInString(in.Name); n < 4 || n > 124 || len(in.Locale) != 2 || !isoForm.MatchString(in.Currency) {
		return answerTo{}, invalid("name", "A shop needs a name of 4 to 124 characters, a locale and a currency")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x := &shop{id: s.id(), name: in.Name, currency: in.Currency, created: s.o.Now()}
	s.shops = append(s.shops, x)
	return answerTo{status: 201, body: x.show()}, nil
}

func (s *Server) listProducts(r *http.Request, _ []byte) (answerTo, error) {
	if err := known(r, "query[name]", "query[externalId]", "query[vendor]", "sort[name]", "sort[createdOn]"); err != nil {
		return answerTo{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x, err := s.shopOf(r)
	if err != nil {
		return answerTo{}, err
	}
	var list []*product
	for _, p := range named(r, x.products, func(p *product) string { return p.name }) {
		if q := r.URL.Query(); !q.Has("query[externalId]") || q.Get("query[externalId]") == p.externalID {
			list = append(list, p)
		}
	}
	return paged(r, list, (*product).show)
}

func (s *Server) createProduct(r *http.Request, body []byte) (answerTo, error) {
	var in struct {
		Name       string `json:"name"`
		ExternalID string `json:"externalId"`
		Variants   []struct {
			Name       string       `json:"name"`
			SKU        string       `json:"sku"`
			Price      *json.Number `json:"price"`
			PriceTax   *json.Number `json:"priceTax"`
			ExternalID string       `json:"externalId"`
		} `json:"variants"`
	}
	if err := read(body, &in); err != nil {
		return answerTo{}, err
	}
	if utf8.RuneCountInString(in.Name) < 2 || len(in.Variants) == 0 {
		return answerTo{}, invalid("name", "A product needs a name and variants")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x, err := s.shopOf(r)
	if err != nil {
		return answerTo{}, err
	}
	p := &product{id: s.id(), name: in.Name, externalID: in.ExternalID}
	for _, v := range in.Variants {
		if v.Name == "" || len(v.SKU) < 2 || v.Price == nil || v.PriceTax == nil {
			return answerTo{}, invalid("variants", "A variant needs name, sku, price and priceTax")
		}
		p.variants = append(p.variants, object{
			"variantId": s.id(), "name": v.Name, "sku": v.SKU, "price": *v.Price, "priceTax": *v.PriceTax, "externalId": v.ExternalID,
		})
	}
	x.products = append(x.products, p)
	return answerTo{status: 201, body: p.show()}, nil
}

// variantsKnown refuses an order of a variant that its shop does not have. s.mu is held.
func (x *shop) variantsKnown(in object) error {
	selected, _ := in["selectedVariants"].([]any)
	for _, one := range selected {
		v, _ := one.(object)
		id := text(v, "variantId")
		known := false
		for _, p := range x.products {
			for _, have := range p.variants {
				known = known || have["variantId"] == id
			}
		}
		if !known {
			return related("variant", id)
		}
	}
	return nil
}

// PlacedOrder is an order of a shop as it stands.
type PlacedOrder struct {
	Shop          string            `json:"shop"` // name
	ID            string            `json:"id"`
	ExternalID    string            `json:"external_id"`
	ContactID     string            `json:"contact_id"`
	Status        string            `json:"status"`
	BillingStatus string            `json:"billing_status"`
	Total         string            `json:"total"`
	Currency      string            `json:"currency"`
	ProcessedAt   string            `json:"processed_at"`
	Meta          map[string]string `json:"meta"`
}

// PlacedOrders returns the orders of all shops, in the order of their making, whoever made them.
func (s *Server) PlacedOrders() []PlacedOrder {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []PlacedOrder{}
	for _, x := range s.shops {
		for _, o := range x.orders {
			p := PlacedOrder{
				Shop: x.name, ID: o.id(), ExternalID: text(o.body, "externalId"), ContactID: text(o.body, "contactId"), Status: text(o.body, "status"),
				BillingStatus: text(o.body, "billingStatus"), Currency: text(o.body, "currency"), ProcessedAt: text(o.body, "processedAt"), Meta: map[string]string{},
			}
			if n, ok := o.body["totalPrice"].(json.Number); ok {
				p.Total = n.String()
			}
			metas, _ := o.body["metaFields"].([]any)
			for _, m := range metas {
				if m, ok := m.(object); ok {
					p.Meta[text(m, "name")] = text(m, "value")
				}
			}
			out = append(out, p)
		}
	}
	return out
}

// Unsubscribe has a person leave one list by themselves.
func (s *Server) Unsubscribe(email, listID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.byEmail[strings.ToLower(email)] {
		if c.gone == "" && c.list.id == listID {
			s.remove(c, "unsubscribe")
		}
	}
}
