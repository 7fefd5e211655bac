{{ new_rows('feedback') }}
