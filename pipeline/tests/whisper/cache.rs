//! Reading token by token with a memory gives what reading everything at once gives.

use tch::Tensor;

use crate::folder;
use crate::layers::window;

#[test]
fn a_memory_changes_nothing() {
    let model = folder::load("third");
    let audio = model.encode(&[window(&model)]).unwrap();
    let tokens: Vec<i64> = (0..90).map(|at| 7 + at * 331).collect();
    let tokens = Tensor::from_slice(&tokens).unsqueeze(0);
    let at_once = model.decoder.read(&tokens, &mut model.decoder.listen(&audio).unwrap()).unwrap();
    let mut memory = model.decoder.listen(&audio).unwrap();
    let first = model.decoder.read(&tokens.narrow(1, 0, 5), &mut memory).unwrap();
    let mut parts = vec![first];
    for at in 5..90 {
        parts.push(model.decoder.read(&tokens.narrow(1, at, 1), &mut memory).unwrap());
    }
    let [whole, parts] = [at_once, Tensor::cat(&parts, 1)].map(|x| model.decoder.logits(&x).unwrap());
    let apart = (&whole - parts).abs().max().double_value(&[]) / whole.abs().max().double_value(&[]);
    assert!(apart < 1e-5, "{apart:.1e}");
    assert!(model.decoder.read(&tokens, &mut memory).is_err(), "only one token at a time follows");
}
