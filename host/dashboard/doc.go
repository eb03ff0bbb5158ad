// Package dashboard shows runs on a web page. A [Server] serves the page while the runs go on, and [WriteReport] writes the same page with all data inside, as
// one file that needs no network.
//
// The page shows what a [history.Store] knows. Its size does not depend on the number of items, because the store sums up what it cannot keep.
//
// [OpenCluster] serves a page of a cluster, which shows what a function returns.
//
// Everything that comes from a plugin, a node or a submitter is text of a stranger: a page puts it into the document as text only, and the
// Content-Security-Policy allows no script but the page's own.
package dashboard
