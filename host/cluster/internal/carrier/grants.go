package carrier

// Grants are the subjects that a user may publish to and subscribe to. Nothing else is allowed.
type Grants struct{ Publish, Subscribe []string }

// InboxOf returns the prefix of the subjects at which the user of a public key gets answers. Users may subscribe to their own alone, so nobody reads what was
// answered to another.
func InboxOf(public string) string { return "_INBOX_" + public }

// Submitter returns what the submitter of a tenant may do with its key.
//
// Some rights are missing on purpose, because JetStream takes what they are for from the body of a request, where permissions do not reach: to purge the work
// queue or delete messages in it, to read the state of a shared stream (it lists the subjects of all tenants), and every way to read a message of a shared
// stream but the one that has the message's subject in the request's.
func Submitter(tenant, public string) Grants {
	results := resultsName + tenant
	jobs, nodes := bucketStream+jobsBucket, bucketStream+nodesBucket
	jobSubjects, nodeSubjects := bucketSubject+jobsBucket+"."+tenant+".*", bucketSubject+nodesBucket+".>"
	blob := tenant + ".*.*"
	return Grants{
		Publish: []string{
			userSubject,
			workPrefix + "*." + tenant + ".*.*",
			wordSubject + tenant + ".*",
			dataSubject + blob,
			codeSubject + blob,
			jobSubjects,
			apiPrefix + "CONSUMER.INFO." + workStream + ".*", // how much waits, in numbers
			apiPrefix + "STREAM.INFO." + results,
			apiPrefix + "STREAM.PURGE." + results,
			apiPrefix + "DIRECT.GET." + results + "." + resultPrefix + tenant + ".>",
			apiPrefix + "CONSUMER.CREATE." + results + ".*." + resultPrefix + tenant + ".>",
			apiPrefix + "CONSUMER.MSG.NEXT." + results + ".*",
			apiPrefix + "CONSUMER.DELETE." + results + ".*",
			apiPrefix + "DIRECT.GET." + dataStream + "." + dataSubject + blob,
			apiPrefix + "DIRECT.GET." + codeStream + "." + codeSubject + blob,
			apiPrefix + "DIRECT.GET." + jobs + "." + jobSubjects,
			// The names of consumers are random, so who has not made one does not know it.
			apiPrefix + "CONSUMER.CREATE." + jobs + ".*." + jobSubjects,
			apiPrefix + "CONSUMER.MSG.NEXT." + jobs + ".*",
			apiPrefix + "CONSUMER.DELETE." + jobs + ".*",
			apiPrefix + "CONSUMER.CREATE." + nodes + ".*." + nodeSubjects,
			apiPrefix + "CONSUMER.MSG.NEXT." + nodes + ".*",
			apiPrefix + "CONSUMER.DELETE." + nodes + ".*",
		},
		Subscribe: []string{InboxOf(public) + ".>", wordSubject + tenant + ".*"},
	}
}

// Node returns what a node may do with its key.
func Node(public string) Grants {
	jobs, tries := bucketSubject+jobsBucket+".>", bucketSubject+triesBucket+".>"
	return Grants{
		Publish: []string{
			userSubject,
			apiPrefix + "CONSUMER.CREATE." + workStream + ".*." + workPrefix + ">",
			apiPrefix + "CONSUMER.INFO." + workStream + ".*",
			apiPrefix + "CONSUMER.MSG.NEXT." + workStream + ".*",
			"$JS.ACK." + workStream + ".>",
			"$JS.ACK.*.*." + workStream + ".>", // domain and account first: a server's form with the feature flag js_ack_fc_v2
			resultPrefix + "*.*.*",
			dataSubject + "*.*.*",
			bucketSubject + nodesBucket + ".*",
			tries,
			apiPrefix + "DIRECT.GET.*." + resultPrefix + ">",
			apiPrefix + "DIRECT.GET." + dataStream + "." + dataSubject + ">",
			apiPrefix + "DIRECT.GET." + codeStream + "." + codeSubject + ">",
			apiPrefix + "DIRECT.GET." + bucketStream + jobsBucket + "." + jobs,
			apiPrefix + "DIRECT.GET." + bucketStream + triesBucket + "." + tries,
		},
		Subscribe: []string{InboxOf(public) + ".>", wordSubject + ">"},
	}
}
