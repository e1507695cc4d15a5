"""How the Service Layer looks from outside: JSON of both versions, replies, multipart batches. Pure."""
