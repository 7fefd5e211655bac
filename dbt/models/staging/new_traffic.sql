{{ new_rows('traffic') }}
