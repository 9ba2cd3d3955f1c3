package activecampaign

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// discard is a ResponseWriter that keeps nothing.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}

// BenchmarkWrites is what the account itself takes for a write, without the network. One in ten contacts is new.
func BenchmarkWrites(b *testing.B) {
	for name, request := range map[string]func(i int) (path, body string){
		"sync": func(i int) (string, string) {
			return "/api/3/contact/sync", fmt.Sprintf(`{"contact":{"email":"c%d@x.example","firstName":"A","fieldValues":[{"field":"65","value":"%d"},{"field":"67","value":"10.00"}]}}`, i/10, i)
		},
		"tag": func(i int) (string, string) {
			return "/api/3/contactTags", fmt.Sprintf(`{"contactTag":{"contact":"%d","tag":"%d"}}`, 1+i%1000, 1+i%3)
		},
	} {
		b.Run(name, func(b *testing.B) {
			s := New(Options{Key: key})
			for i := range 1000 {
				s.Subscribe(fmt.Sprintf("warm%d@x.example", i), "Newsletter", 1)
			}
			for _, tag := range []string{"a", "b", "c"} {
				if err := s.Do(Act{Do: "tag", Email: "warm0@x.example", Name: tag}); err != nil {
					b.Fatal(err)
				}
			}
			w := &discard{http.Header{}}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				path, body := request(n)
				n++
				r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader([]byte(body)))
				r.Header.Set("Api-Token", key)
				s.Handler().ServeHTTP(w, r)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
		})
	}
}

// BenchmarkServed is the same through the network, with 16 callers.
func BenchmarkServed(b *testing.B) {
	s := New(Options{Key: key})
	srv := httptest.NewServer(s.Handler())
	defer srv.Close()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			body := fmt.Sprintf(`{"contact":{"email":"c%d@x.example","fieldValues":[{"field":"65","value":"%d"}]}}`, i%500, i)
			r, err := http.NewRequest(http.MethodPost, srv.URL+"/api/3/contact/sync", bytes.NewReader([]byte(body)))
			if err != nil {
				b.Error(err)
				return
			}
			r.Header.Set("Api-Token", key)
			resp, err := client.Do(r)
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}
