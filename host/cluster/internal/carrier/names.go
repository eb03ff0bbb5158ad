package carrier

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/parhost/parhost/host/cluster/internal/engine"
)

// Streams, buckets and subjects. All jobs share the streams, because each stream of a replicated cluster costs a Raft group.
const (
	workStream   = "PH_WORK"  // ph.work.POOL.TENANT.JOB.FIRST: batches that wait or run
	resultsName  = "PH_RES_"  // and the tenant: ph.res.TENANT.JOB.FIRST. A stream for each tenant, because permissions can name no part of a token
	jobsBucket   = "PH_JOBS"  // TENANT.JOB
	nodesBucket  = "PH_NODES" // NODE
	triesBucket  = "PH_TRIES" // TENANT.JOB.FIRST: how often a batch was begun
	dataStream   = "PH_DATA"  // ph.data.TENANT.SHA256.PART: batches and results that are too large for a message
	codeStream   = "PH_CODE"  // ph.code.TENANT.SHA256.PART: executables
	workPrefix   = "ph.work."
	resultPrefix = "ph.res."
	dataSubject  = "ph.data."
	codeSubject  = "ph.code."
	wordSubject  = "ph.word."  // TENANT.JOB: what is said to nodes, such as that a job is canceled
	itemsHeader  = "Ph-Items"  // of a result: how many items it is of
	blobHeader   = "Ph-SHA256" // the body is in the data stream, under this name
)

func workSubject(pool string, k engine.Key) string {
	return workPrefix + pool + "." + k.Tenant + "." + k.Job + "." + strconv.FormatUint(k.First, 10)
}

func resultSubject(k engine.Key) string {
	return resultPrefix + k.Tenant + "." + k.Job + "." + strconv.FormatUint(k.First, 10)
}

// keyOf returns the key in the last three tokens of a subject.
func keyOf(subject string) (engine.Key, error) {
	t := strings.Split(subject, ".")
	if len(t) < 3 {
		return engine.Key{}, fmt.Errorf("subject %q names no batch", subject)
	}
	t = t[len(t)-3:]
	first, err := strconv.ParseUint(t[2], 10, 63)
	if err != nil {
		return engine.Key{}, fmt.Errorf("subject %q names no batch: %w", subject, err)
	}
	return engine.Key{JobKey: engine.JobKey{Tenant: t[0], Job: t[1]}, First: first}, nil
}
