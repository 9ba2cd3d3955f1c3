package outbound

import (
	"testing"
)

// byPatterns is what the patterns alone would do.
func byPatterns(text string) string {
	text = secretJSON.ReplaceAllString(text, `$1"`+mask+`"`)
	text = secretHeader.ReplaceAllString(text, "${1}"+mask)
	text = secretForm.ReplaceAllString(text, "${1}${2}"+mask)
	text = scheme.ReplaceAllString(text, "${1}${2}"+mask)
	text = paypalToken.ReplaceAllString(text, mask)
	text = userinfo.ReplaceAllString(text, "${1}"+mask+"@")
	text = replaceSecond(phoneJSON, text, MaskPhone)
	text = replaceSecond(phoneForm, text, MaskPhone)
	return maskEmails(phoneE164.ReplaceAllStringFunc(text, MaskPhone))
}

// FuzzScan holds the search for places where something is to be masked to what the patterns find.
func FuzzScan(f *testing.F) {
	for _, text := range []string{
		`{"token":"abc","phone":"+49170123456","n":1}`, `{\"api-key\":\"a\\\"b\",\"Phone\":\"0170 123456\"}`, `"key" : 12e5, "key":"cut`,
		"event=paid&key=k=y&actid=1;phone=phone=0123456", `'token=a token=b "secret=c'`, "contact[phone]=0170123456&xphone=1",
		"Api-Token: abc\nCookie : d\nbearer abc basic abcdefghi=", `"phone":{"national_number":"1701234567"}`, "\"to\u212aen\":\"x\" paſſword=1 phone=1",
		`"token""token":"a"`, `token=&token=a&=&key==`, `"secret":"a"secret="b`, `\"key":"\"key":1`, "%2b491701234567 +1 +491701234567", "phone=1 phone=+49 170 123 45 67",
		`"key":"\"`, `"PHONE":"12345[678","mobile":"`, `?token=x?token=y`, "password=\xff\"password\":\"\xff", `https://u:p@x/?key=1&contact[phone]=2`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if got, want := Redact(text), byPatterns(text); got != want {
			t.Errorf("%q:\n got %q\nwant %q", text, got, want)
		}
	})
}

// BenchmarkScan masks an answer as ActiveCampaign gives it to a contact's update, and a tracked event.
func BenchmarkScan(b *testing.B) {
	for name, text := range map[string]string{
		"answer": `{"fieldValues":[{"contact":"1","field":"65","value":"4711","cdate":"2026-11-22T15:00:00-06:00","id":"12"}],"contact":{"cdate":"2026-11-22T15:00:00-06:00",` +
			`"email":"jana@shop.example","phone":"","firstName":"Jana","lastName":"Example","orgid":"0","segmentio_id":"","bounced_hard":"0","ip":"0","hash":"d41d8cd98f00b204",` +
			`"links":{"bounceLogs":"https://a.api-us1.com/api/3/contacts/1/bounceLogs","contactTags":"https://a.api-us1.com/api/3/contacts/1/contactTags"},"id":"1"}}`,
		"event": "actid=1000&event=paid&eventdata=id%3D000000000001&key=abcdef0123456789&visit=%7B%22email%22%3A%22jana%40shop.example%22%7D",
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				Redact(text)
			}
		})
		b.Run(name+" by the patterns alone", func(b *testing.B) {
			for b.Loop() {
				byPatterns(text)
			}
		})
	}
}
