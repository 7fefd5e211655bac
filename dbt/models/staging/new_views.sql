{{ new_rows('views') }}
