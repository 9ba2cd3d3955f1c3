// Package compose holds docker-compose.yml and examples/config against each other, and against the settings that the
// tests run natively, so that what is shipped is what was tested.
package compose
