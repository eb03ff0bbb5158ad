package family

// PieceBytes is how many bytes of an environment are read at once.
const PieceBytes = pieceBytes
