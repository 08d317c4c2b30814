package planner

// JobShare is what a cluster gets of a Job. With 0 of either nothing runs there.
type JobShare struct {
	Parallelism int32
	// Completions nil is v1's and Kubernetes' work queue: any pod that succeeds ends the Job.
	Completions *int32
}

// Split divides a Job: parallelism by Plan, without its overflow, and completions in proportion to the parallelism of each cluster, less than one from
// the exact part. So the two add up to what was given (parallelism to less when maxima say so), and no cluster completes pods that it does not run:
// v1 divided completions by the preferences anew, meant to drop minimum and maximum for it, and did not. All clusters are in the result.
//
// With no parallelism anywhere there are no completions either. A Job with 0 completions is complete at once and a Job's completions cannot be
// changed: make none for a share of 0, and split completions only when the Jobs are made.
func Split(preferences Preferences, parallelism int32, completions *int32, clusters []Cluster, key string) map[string]JobShare {
	var total int32
	if completions != nil {
		total = max(0, *completions)
	}
	weights, limits := amounts{}, amounts{}
	for name, n := range place(preferences, parallelism, clusters, key) {
		if n > 0 {
			weights[name], limits[name] = n, total
		}
	}
	parts := spread(total, inOrder(weights, key), weights, limits)

	shares := make(map[string]JobShare, len(clusters))
	for _, c := range clusters {
		share := JobShare{Parallelism: weights[c.Name]}
		if completions != nil {
			share.Completions = new(parts[c.Name])
		}
		shares[c.Name] = share
	}
	return shares
}
