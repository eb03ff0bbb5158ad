package family

// PieceBytes is how much of an environment is read at once.
const PieceBytes = pieceBytes
