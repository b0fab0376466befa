-- name: _rst_did_you_mean
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The question about a mistyped name: '; did you mean red?'. The names that begin with it, or else those that resemble it; '' without such names.
CREATE OR REPLACE MACRO _rst_did_you_mean(given, known) AS coalesce(
    '; did you mean ' || nullif(array_to_string(
        list_transform(
            list_sort(list_filter(
                list_transform(list_distinct(known), lambda rst_name: {
                    'edits': CASE WHEN starts_with(rst_name, given) THEN 0 ELSE damerau_levenshtein(rst_name, given) END,
                    'name': rst_name
                }),
                lambda rst_pair: rst_pair.edits <= greatest(1, len(given) // 3)
            ), 'ASC', 'NULLS LAST')[1:3],
            lambda rst_pair: rst_pair.name
        ),
        ' or '
    ), '') || '?',
    ''
);
