package joblog

// queue is a ring buffer of values with consecutive numbers. The zero value is empty and starts at number 0.
type queue[T any] struct {
	ring        []T // its length is 0 or a power of two
	first, next int // numbers of the oldest value, and of the next one to be pushed
}

func (q *queue[T]) size() int { return q.next - q.first }

// at returns a pointer to the value with the given number, from first to next-1. The pointer is valid until the next push.
func (q *queue[T]) at(number int) *T { return &q.ring[number&(len(q.ring)-1)] }

func (q *queue[T]) push(v T) {
	if q.size() == len(q.ring) {
		larger := make([]T, max(64, 2*len(q.ring)))
		for n := q.first; n < q.next; n++ {
			larger[n&(len(larger)-1)] = *q.at(n)
		}
		q.ring = larger
	}
	q.next++
	*q.at(q.next - 1) = v
}

// pop removes and returns the oldest value.
func (q *queue[T]) pop() T {
	v := *q.at(q.first)
	*q.at(q.first) = *new(T)
	q.first++
	return v
}
