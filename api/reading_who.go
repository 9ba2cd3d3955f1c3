package api

import "net/http"

// maySeePersons refuses who may not see what names a person.
func maySeePersons(*http.Request) error { return nil }

// signedIn is the name of who asks; empty where nobody has to sign in.
func signedIn(*http.Request) string { return "" }
