//! The known word that a misspelt one was meant to be.

/// The word that differs from `text` in at most a third of its letters, if there is one.
pub(crate) fn nearest<'w>(text: &str, words: &[&'w str]) -> Option<&'w str> {
    let text = text.to_lowercase();
    let scored = words
        .iter()
        .map(|word| (distance(&text, word), *word))
        .filter(|(score, word)| *score <= word.len().div_ceil(3));
    scored.min_by_key(|(score, _)| *score).map(|(_, word)| word)
}

/// Letters to insert, delete or replace, or neighbours to swap, to make one of the other; texts
/// far longer than any key count as far.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(32).collect(), b.chars().collect());
    let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            table[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replace = table[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut best = replace.min(table[i - 1][j] + 1).min(table[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(table[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    table[a.len()][b.len()]
}
