-- What signing in elsewhere and the API have added is tenants' data, too (decision 0049).
SELECT blueteam.separate_tenants(place::regclass)
  FROM unnest(ARRAY[
        'users.external_identities', 'users.idempotency_keys', 'users.person_keys', 'users.person_key_secrets'
  ]) AS place;
