package joblog

// queue is a ring of values with consecutive numbers. The zero value is empty and begins with number 0.
type queue[T any] struct {
	ring        []T // a power of two long
	first, next int // numbers of the oldest value, and of the one that comes next
}

func (q *queue[T]) size() int { return q.next - q.first }

// at returns the value of a number from first to next-1, in its place.
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

// pop takes the oldest value out.
func (q *queue[T]) pop() T {
	v := *q.at(q.first)
	*q.at(q.first) = *new(T)
	q.first++
	return v
}
