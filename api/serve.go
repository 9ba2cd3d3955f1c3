package api

import (
	"net/http"
	"net/url"
	"slices"
)

// readQuery reads the parameters of a request, of which only keys are known, each once.
func readQuery(r *http.Request, keys []string) *query {
	values, err := url.ParseQuery(r.URL.RawQuery)
	q := &query{values: values}
	if err != nil {
		q.fail("the parameters of the address cannot be read")
	}
	for key, list := range values {
		if !slices.Contains(keys, key) {
			q.fail("there is no parameter %.40q here", key)
		}
		if len(list) > 1 && key != "part" {
			q.fail("%s is there twice", key)
		}
	}
	return q
}
