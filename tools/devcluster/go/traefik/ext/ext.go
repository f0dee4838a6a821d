// Package ext is where Traefik lets others add to its configuration; nobody does here.
package ext

// HTTP adds nothing to what Traefik knows of HTTP.
type HTTP struct{}

// Router adds nothing to a router.
type Router struct{}
