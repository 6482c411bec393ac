//! What compiling a module would take, by counting before it is begun: the compiler needs the square
//! of how deep blocks are nested, and it cannot be stopped.

use wasmparser::{FunctionBody, Operator, Parser, Payload};

/// Functions of all core modules together; the largest language runtimes have some ten thousand.
const FUNCTIONS_MAX: u64 = 100_000;
/// Depths of all blocks and conditions together: some seconds of one core. A runtime with a million
/// blocks has a tenth of it.
const BLOCKS_MAX: u64 = 100_000_000;
/// The same for loops within loops, of which each takes thirty times as much.
const LOOPS_MAX: u64 = 2_000_000;

/// What was counted so far.
#[derive(Default)]
struct Effort {
    functions: u64,
    blocks: u64,
    loops: u64,
}

/// Whether a module, or all of a component, can be compiled in a time that is in proportion to its
/// size; if not, why. What cannot be read is left to the compiler to name.
pub(super) fn check(module: &[u8]) -> Result<(), String> {
    let mut effort = Effort::default();
    for payload in Parser::new(0).parse_all(module) {
        match payload {
            Ok(Payload::CodeSectionEntry(body)) => effort.add(&body)?,
            Ok(_) => {}
            Err(_) => break,
        }
    }
    Ok(())
}

impl Effort {
    fn add(&mut self, body: &FunctionBody<'_>) -> Result<(), String> {
        self.functions += 1;
        within(self.functions, FUNCTIONS_MAX, "functions")?;
        let Ok(mut operators) = body.get_operators_reader() else {
            return Ok(());
        };
        // Whether each open block is a loop.
        let (mut open, mut loops) = (Vec::new(), 0);
        while let Ok(operator) = operators.read() {
            match operator {
                Operator::Block { .. } | Operator::If { .. } => open.push(false),
                Operator::Loop { .. } => {
                    open.push(true);
                    loops += 1;
                    self.loops += loops;
                }
                Operator::End => {
                    loops -= u64::from(open.pop().unwrap_or(false));
                    continue;
                }
                _ => continue,
            }
            self.blocks += open.len() as u64;
            within(self.blocks, BLOCKS_MAX, "levels of nested blocks")?;
            within(self.loops, LOOPS_MAX, "levels of nested loops")?;
        }
        Ok(())
    }
}

fn within(count: u64, limit: u64, what: &str) -> Result<(), String> {
    if count <= limit {
        return Ok(());
    }
    Err(format!(
        "has more than {limit} {what}, which would take too long to compile"
    ))
}
