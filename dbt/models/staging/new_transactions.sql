{{ new_rows('transactions') }}
