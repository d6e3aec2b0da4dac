// module_n.v
module module_n (
  input  wire signed [3:0] signal_n,
  input  wire signed [3:0] Signal_n_2,
  input  wire        [2:0] x_1,
  input  wire              clk_2,
  output wire signed [4:0] begin_n,
  output wire        [2:0] end_n,
  output wire              valid_in,
  output wire signed [3:0] Begin_n_2
);

  // dense_1/MatMul:0
  wire signed [4:0] s_sum     = {signal_n[3], signal_n} + {Signal_n_2[3], Signal_n_2};
  wire              process_n = s_sum[0];
  wire              t         = process_n ^ clk_2;

  assign begin_n   = s_sum;
  assign end_n     = x_1;
  assign valid_in  = t;
  assign Begin_n_2 = signal_n;
endmodule
