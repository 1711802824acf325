"""Applications that the end-to-end tests serve with uvicorn, several processes of each."""
